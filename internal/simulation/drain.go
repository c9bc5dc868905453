package simulation

import (
	"slices"
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

// An extraDial is one beyond MaxConns. It is right if others that were open then only
// ended the streams they had.
type extraDial struct {
	at   time.Time
	most int
	open []string // the Transport's addresses of the others
}

// beyondLimit notes a dial to s beyond most connections, for judgeExtra.
func (w *world) beyondLimit(s *server, most int) {
	d := extraDial{at: time.Now(), most: most}
	w.sockets.Range(func(local, v any) bool {
		sock := v.(*socket)
		sock.mu.Lock()
		defer sock.mu.Unlock()
		if sock.server == s && !sock.closed {
			d.open = append(d.open, local.(string))
		}
		return true
	})
	s.mu.Lock()
	defer s.mu.Unlock()
	s.extra = append(s.extra, d)
}

// judgeExtra looks whether the connections that were open when others were dialed
// beyond MaxConns got requests that had not begun by then.
func (w *world) judgeExtra(s *server, delivered map[delivery]int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.extra) == 0 {
		return
	}
	got := make(map[string][]time.Time) // when the calls began, by the connection
	for d := range delivered {
		if rec, ok := w.calls.Load(d.id); ok {
			got[d.local] = append(got[d.local], rec.(*callRecord).began)
		}
	}
	fewer := w.withFewerStreams(s)
	for _, d := range s.extra {
		used := 0
		for _, local := range d.open {
			// A server that takes streams back looks as if it were going away.
			if !fewer[local] && slices.ContainsFunc(got[local], func(t time.Time) bool { return t.After(d.at) }) {
				used++
			}
		}
		if used >= d.most {
			w.violate("P5", "when another connection to server %d was dialed, %v after the beginning, %d were open that got requests later; MaxConns is %d", s.n, d.at.Sub(w.began), used, d.most)
		}
	}
}

// withFewerStreams returns the connections whose server changed the number of streams
// it permits.
func (w *world) withFewerStreams(s *server) map[string]bool {
	from, out := make(map[int64]string), make(map[string]bool)
	for _, c := range s.Journal().Conns() {
		from[c.ID] = c.RemoteAddr
	}
	for _, r := range s.Journal().Requests() {
		if slices.Contains(r.Faults, faultserver.ChangeMaxStreams) {
			out[from[r.Conn]] = true
		}
	}
	return out
}
