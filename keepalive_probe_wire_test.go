package idlewise

import (
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func record(kind byte, n int) []byte {
	r := make([]byte, 5+n)
	r[0], r[1], r[2], r[3], r[4] = kind, 3, 3, byte(n>>8), byte(n)
	return r
}

func TestWhatCameLastTellsTheEnd(t *testing.T) {
	now := time.Now()
	goodbye, oldGoodbye, ticket := record(23, 19), record(21, 26), record(23, 200)
	for name, c := range map[string]struct {
		s    wireState
		want ProbeEnd
	}{
		"nothing":                     {wireState{attached: true}, ProbeEndOpen},
		"FIN":                         {wireState{attached: true, raw: true, end: endFIN}, ProbeEndFIN},
		"RST":                         {wireState{attached: true, raw: true, end: endRST}, ProbeEndRST},
		"408":                         {wireState{attached: true, raw: true, burst: []byte("HTTP/1.1 408 x")}, ProbeEnd408},
		"a short answer":              {wireState{attached: true, raw: true, burst: []byte("HTTP/1.")}, ProbeEndUnasked},
		"another answer":              {wireState{attached: true, raw: true, burst: []byte("HTTP/1.1 503 x")}, ProbeEndUnasked},
		"TLS 1.3 goodbye":             {wireState{attached: true, burst: goodbye, dead: errTextServerClosedIdle, closedAt: now}, ProbeEndCloseNotify},
		"TLS 1.2 goodbye":             {wireState{attached: true, burst: oldGoodbye, dead: errTextServerClosedIdle, closedAt: now}, ProbeEndCloseNotify},
		"a ticket":                    {wireState{attached: true, burst: ticket}, ProbeEndOpen},
		"408 within TLS":              {wireState{attached: true, burst: ticket, dead: errTextServerClosedIdle}, ProbeEnd408},
		"data within TLS":             {wireState{attached: true, burst: ticket, dead: "something else"}, ProbeEndUnasked},
		"TLS cut off":                 {wireState{attached: true, end: endFIN, dead: "x"}, ProbeEndFIN},
		"GOAWAY, then all else":       {wireState{attached: true, h2: true, burst: append(ticket, goodbye...), dead: "x"}, ProbeEndGoAway},
		"goodbye on HTTP/2":           {wireState{attached: true, h2: true, burst: goodbye, dead: "x", end: endFIN}, ProbeEndCloseNotify},
		"GOAWAY, still open":          {wireState{attached: true, h2: true, goAway: true}, ProbeEndGoAway},
		"not to be seen":              {wireState{dead: "x"}, ProbeEndClosed},
		"TLS in TLS":                  {wireState{attached: true, layered: true, burst: ticket, dead: "x", closedAt: now}, ProbeEndClosed},
		"a piece of a record":         {wireState{attached: true, burst: []byte{23, 3}, dead: "x"}, ProbeEndUnasked},
		"a record that is longer yet": {wireState{attached: true, burst: record(23, 19)[:10], dead: "x"}, ProbeEndUnasked},
	} {
		t.Run(name, func(t *testing.T) {
			end, _ := c.s.ended()
			require.Equal(t, c.want, end)
		})
	}
}

func TestWhatCameLongBeforeTheEndHasNothingToDoWithIt(t *testing.T) {
	now := time.Now()
	w := newProbeWire()
	w.Conn = &net.TCPConn{}
	w.rest()
	w.noteBurstLocked(record(23, 200), now.Add(-time.Second))
	w.end, w.endAt = endFIN, now
	end, at := w.state().ended()
	require.Equal(t, ProbeEndFIN, end)
	require.Equal(t, now, at)

	w.noteBurstLocked(record(23, 19), now)
	end, _ = w.state().ended()
	require.Equal(t, ProbeEndCloseNotify, end)
}

func TestAServerThatTalksWithoutEndIsGivenUp(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	w := newProbeWire()
	w.Conn, w.raw, w.h2 = ours, true, true
	w.rest()
	go func() {
		for {
			if _, err := theirs.Write(make([]byte, 32<<10)); err != nil {
				return
			}
		}
	}()
	n, err := io.Copy(io.Discard, w)
	require.NoError(t, err)
	require.LessOrEqual(t, n, int64(maxSurplus))
	require.LessOrEqual(t, len(w.burst), maxBurst)
	end, _ := w.state().ended()
	require.Equal(t, ProbeEndUnasked, end)
	w.Close()
}

// Whatever a server sends, it is judged, and only a server's ends come out.
func FuzzProbeEnd(f *testing.F) {
	f.Add([]byte("HTTP/1.1 408 Request Timeout\r\n\r\n"), "", uint8(0))
	f.Add(record(23, 19), errTextServerClosedIdle, uint8(0xff))
	f.Add([]byte{23, 3, 3, 0xff, 0xff, 1}, "x", uint8(2))
	const attached, raw, h2, layered, goAway = 1, 2, 4, 8, 16
	for end := range uint8(3) { // none, FIN, RST
		for _, bits := range []uint8{0, attached, attached | raw, attached | h2, attached | h2 | raw, attached | layered, attached | goAway} {
			f.Add(record(21, 2), "x", bits|end<<6)
			f.Add(record(23, 40), "", bits|end<<6)
			f.Add([]byte(nil), "x", bits|end<<6)
		}
	}
	f.Fuzz(func(t *testing.T, burst []byte, dead string, bits uint8) {
		w := newProbeWire()
		w.noteBurstLocked(burst, time.Now())
		s := w.state()
		s.attached, s.raw, s.h2, s.layered, s.goAway = bits&1 != 0, bits&2 != 0, bits&4 != 0, bits&8 != 0, bits&16 != 0
		s.end = ending(bits >> 6)
		s.dead = dead
		if end, at := s.ended(); end != ProbeEndOpen && (!end.byServer() || at.IsZero()) {
			t.Fatalf("%v at %v", end, at)
		}
	})
}

func FuzzProbeURL(f *testing.F) {
	f.Add("http://a/b?c#d")
	f.Add("HTTPS://me:secret@[::1]:8443")
	f.Add("http://bücher.example/")
	f.Fuzz(func(t *testing.T, raw string) {
		u, err := parseProbeURL(raw)
		if err != nil {
			return
		}
		if u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.Fragment != "" {
			t.Fatalf("%q became %v", raw, u)
		}
		o := ProbeOptions{ElicitHint: true}.withDefaults()
		if req := o.request(u, http.MethodHead); req.Header.Get("Connection") != "keep-alive" {
			t.Fatal("the hint is not asked for")
		}
		addrOf(u)
	})
}
