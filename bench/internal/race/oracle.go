package race

import "time"

// Oracle is how many connections the lane's callers would have opened had they
// known the server's keep-alive and needed no margin: one each, and another after
// each gap that is as long. Nobody can do with fewer and meet no closed one.
func (l *Lane) Oracle(keepAlive time.Duration) (conns int) {
	began := make(map[int]bool)
	for _, c := range l.Calls {
		if !began[c.Caller] || c.Gap >= keepAlive {
			conns++
		}
		began[c.Caller] = true
	}
	return conns
}
