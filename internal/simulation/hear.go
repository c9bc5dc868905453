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

// heard is what a Read brought: how many responses to a request began, how many of
// them before a forged one did, if one did, and whether that came along with something
// else.
type heard struct {
	answers, before int
	forged, along   bool
}

// hear takes in what was read next.
func (e *ear) hear(p []byte) (h heard) {
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
			if !h.forged {
				h.before, h.along = h.answers, at > before
			}
			h.forged = true
		case text[from] != '1':
			h.answers++
		}
	}
	keep := max(from, len(text)-len(forgedStart)+1)
	e.rest = append(e.rest[:0:0], text[min(keep, len(text)):]...)
	return h
}
