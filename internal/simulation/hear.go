package simulation

import "bytes"

// An ear listens to what a server says on an HTTP/1 connection, and counts the
// responses that began, other than interim ones.
type ear struct {
	rest []byte // what was heard last, as long as a status line may have begun in it
}

var (
	statusLine  = []byte("HTTP/1.1 ")
	forgedStart = []byte("HTTP/1.1 200 OK\r\nX-Forged")
)

// hear takes in what was read next. It reports how many responses to a request
// began, whether a forged one did, and whether that came along with something else.
func (e *ear) hear(p []byte) (responses int, forged, along bool) {
	before := len(e.rest)
	text := append(e.rest, p...)
	from := 0
	for {
		at := bytes.Index(text[from:], statusLine)
		if at < 0 || from+at+len(forgedStart) > len(text) {
			break
		}
		at += from
		from = at + len(statusLine)
		switch {
		case bytes.HasPrefix(text[at:], forgedStart):
			forged = true
			along = along || at > before
		case text[from] != '1':
			responses++
		}
	}
	keep := max(from, len(text)-len(forgedStart)+1)
	e.rest = append(e.rest[:0:0], text[min(keep, len(text)):]...)
	return responses, forged, along
}
