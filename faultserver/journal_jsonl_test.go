package faultserver_test

import (
	"bytes"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestTheJournalIsWrittenAsJSONLinesWithStableNames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{Faults: []faultserver.Fault{
			{Kind: faultserver.Delay, After: time.Second}, {Kind: faultserver.IdleClose, After: 2 * time.Second},
		}})
		c := dial()
		exchangeRaw(t, c)
		time.Sleep(3 * time.Second)
		var b bytes.Buffer
		require.NoError(t, s.Journal().WriteJSONL(&b))
		opened := s.Journal().Conns()[0].Opened.UTC().Format(time.RFC3339Nano)
		require.Equal(t, `{"type":"connection","id":1,"generation":1,"remote_addr":"10.255.0.1:32768","local_addr":"server:80","proto":"HTTP/1.1",`+
			`"opened":"`+opened+`","closed":"2000-01-01T00:00:03.03Z","closed_by":"server-fin","reason":"fault",`+
			`"fault":"idle-close","requests":1,"idle_age_ns":2000000000}`+"\n"+
			`{"type":"request","id":1,"key":"GET / cbf29ce484222325","key_derived":true,"method":"GET","path":"/","connection":1,`+
			`"nth_on_connection":1,"proto":"HTTP/1.1","time":"2000-01-01T00:00:00.03Z","ended":"2000-01-01T00:00:01.03Z",`+
			`"idle_before_ns":0,"body_bytes":0,"body_complete":true,"phase":"answered","executed":1,"answered":true,"status":200,`+
			`"faults":["delay"]}`+"\n",
			strings.Replace(b.String(), s.Journal().Conns()[0].RemoteAddr, "10.255.0.1:32768", 1))
		endVirtual(s, c)
	})
}

func TestAJournalReadBackAnswersTheSameQuestions(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.FinAfterRequest, Executed: true, Times: 1})
	for range 2 {
		c := dialRaw(t, s)
		c.send(post("/charge", "5 EUR", "Idempotency-Key: k1", "Connection: close"))
		c.rest()
	}
	s.Pause()
	require.NoError(t, s.Resume())
	s.Inject(faultserver.Fault{Kind: faultserver.RefuseConnections, Value: "127.0.0.1"})()
	s.Inject(faultserver.Fault{Kind: faultserver.LookupEmpty, Value: "a.test"})
	s.Inject(faultserver.Fault{Kind: faultserver.AcceptReset})
	s.Resolver().LookupHost(t.Context(), "a.test")
	if nc, err := net.Dial("tcp", s.Addr().String()); err == nil { // the RST may be faster
		nc.Close()
	}
	require.NoError(t, s.Journal().Wait(t.Context(), func() bool { return len(s.Journal().Conns()) == 3 }))
	s.Close()
	var b bytes.Buffer
	require.NoError(t, s.Journal().WriteJSONL(&b))
	text := b.String()
	require.Contains(t, text, `"what":"paused"}`)
	require.Contains(t, text, `"what":"outage-ended","fault":"refuse-connections","address":"127.0.0.1"}`)
	require.Contains(t, text, `"name":"a.test","record_type":"A","network":"udp","outcome":"empty","faults":["lookup-empty"]}`)
	require.Contains(t, s.Journal().Summary(), "server: 1 outage-began refuse-connections 127.0.0.1, 1 outage-ended refuse-connections 127.0.0.1, 1 paused, 1 resumed\n")
	back, err := faultserver.ReadJSONL(strings.NewReader(text))
	require.NoError(t, err)
	require.Equal(t, s.Journal().Summary(), back.Summary())
	require.Equal(t, s.Journal().Totals(), back.Totals())
	require.Equal(t, []string{"k1"}, back.ExecutedTwice())
	require.Equal(t, []faultserver.Kind{faultserver.AcceptReset}, back.Conns()[2].Faults)
	require.Equal(t, len(s.Journal().Lookups()), len(back.Lookups()))
	require.True(t, s.Journal().Requests()[0].Ended.Equal(back.Requests()[0].Ended))
	b.Reset()
	require.NoError(t, back.WriteJSONL(&b))
	require.Equal(t, text, b.String())
}

func TestAJournalThatCannotBeReadNamesTheLine(t *testing.T) {
	for text, want := range map[string]string{
		"\n{":                                  "line 2: unexpected end",
		`{"type":"requst"}`:                    `line 1: unknown type "requst"; did you mean request?`,
		`{"type":"request","phase":"answred"}`: `line 1: unknown phase "answred"; did you mean answered?`,
		`{"type":"server","what":"pused"}`:     `line 1: unknown what "pused"; did you mean paused?`,
		`{"type":"connection","closed_by":"client","reason":"x"}`:                 `line 1: unknown reason "x"`,
		`{"type":"connection","closed_by":"client","reason":"fault","fault":"x"}`: `line 1: unknown kind of fault "x"`,
	} {
		_, err := faultserver.ReadJSONL(strings.NewReader(text))
		require.ErrorContains(t, err, want)
	}
	_, err := faultserver.ReadJSONL(strings.NewReader(`{"type":"panic","message":"m","new":1}`))
	require.NoError(t, err, "fields of a newer version are no mistake")
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("disk full") }

func TestAJournalThatCannotBeWrittenSaysSo(t *testing.T) {
	s := with(t)
	dialRaw(t, s).get("/")
	require.ErrorContains(t, s.Journal().WriteJSONL(brokenWriter{}), "disk full")
}

func TestEachExecutedOnceFindsTheLostAndTheDoubled(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.FinAfterRequest, Times: 1})
	send := func(key string) {
		c := dialRaw(t, s)
		c.send(post("/", "", "Idempotency-Key: "+key, "Connection: close"))
		c.rest()
	}
	send("lost")
	send("once")
	var f fails
	s.Journal().AssertEachExecutedOnce(&f)
	require.Len(t, f.messages, 1)
	require.Contains(t, f.messages[0], `1 request was not executed exactly once:`)
	require.Contains(t, f.messages[0], `key "lost"`)
	send("lost")
	s.Journal().AssertEachExecutedOnce(t)
	send("once")
	s.Journal().AssertEachExecutedOnce(&f, "POST")
	require.Contains(t, f.messages[1], `key "once"`)
	s.Journal().AssertEachExecutedOnce(t, "GET")
}

func TestAssertionsOnConnectionsShowTheOffenders(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.SilentClose, Nth: 2})
	open := dialRaw(t, s)
	open.get("/")
	j := s.Journal()
	var f fails
	j.AssertNoneOpen(&f)
	require.Contains(t, f.messages[0], "1 connection was open:\n  connection 1 from 127.0.0.1:")
	open.get("/")
	open.wantFIN()
	j.AssertNoneOpen(t)
	j.AssertClosedOnlyFor(t, faultserver.FaultStruck, faultserver.IdleTimeout)
	j.AssertClosedOnlyFor(&f, faultserver.IdleTimeout)
	require.Contains(t, f.messages[1], "ended for reasons other than [idle-timeout]")
	require.Contains(t, f.messages[1], "server-fin (fault) by silent-close")
}

func TestAssertEventuallyWaitsForTheJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, dial := virtual(t, faultserver.Config{})
		c := dial()
		exchangeRaw(t, c)
		time.AfterFunc(time.Minute, func() { c.Close() })
		s.Journal().AssertEventually(t, time.Hour, "the client closes", func() bool { return s.Journal().Totals().Open == 0 })
		var f fails
		s.Journal().AssertEventually(&f, time.Hour, "pigs fly", func() bool { return false })
		require.Contains(t, f.messages[0], "not within 1h0m0s: pigs fly; the journal says:\n1 connection: 1 client")
		endVirtual(s, c)
	})
}

func TestTotalsCount(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.FinAfterRequest, Nth: 2})
	c := dialRaw(t, s)
	c.get("/")
	c.send("GET / HTTP/1.1\r\nHost: t\r\n\r\n")
	c.wantFIN()
	open := dialRaw(t, s)
	open.get("/")
	s.Journal().AssertEventually(t, patience, "all ended", func() bool { return s.Journal().Totals().Running == 0 })
	require.Equal(t, faultserver.JournalTotals{
		Connections: 2, Open: 1, Closed: map[string]int{"fault": 1}, Requests: 3, Answered: 2, Lost: 1, Executions: 2,
		Struck: 1, Faults: map[string]int{"fin-after-request": 1},
	}, s.Journal().Totals())
}
