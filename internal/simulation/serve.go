package simulation

import (
	"fmt"
	"hash/fnv"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers with the request's id and what came of its body, so that the
// client can tell whose answer it got.
func (s *server) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	id := strings.TrimPrefix(r.URL.Path, pathPrefix)
	rw.Header().Set("X-Id", id)
	sum := fnv.New64a()
	n, err := io.Copy(sum, r.Body)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	if think, _ := time.ParseDuration(r.Header.Get("X-Think")); think > 0 {
		timer := time.NewTimer(think)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
			return
		}
	}
	want, _ := strconv.Atoi(r.Header.Get("X-Want"))
	answer := answerTo(id, n, sum.Sum64(), want)
	if want%200 == 0 { // else in chunks, where there is much of it
		rw.Header().Set("Content-Length", strconv.Itoa(len(answer)))
	}
	io.WriteString(rw, answer)
}

// answerTo is what a request whose body has that length and hash is answered with.
func answerTo(id string, n int64, sum uint64, want int) string {
	return fmt.Sprintf("%s %d %016x\n", id, n, sum) + filled(id, want)
}

// answer is the right answer to the call.
func (c Call) answer(id string) string {
	text := c.text(id)
	sum := fnv.New64a()
	io.WriteString(sum, text)
	return answerTo(id, int64(len(text)), sum.Sum64(), c.Want)
}

// text is what the body of the call's request consists of.
func (c Call) text(id string) string {
	if c.Body == NoBody {
		return ""
	}
	return filled(id, c.Size)
}

// filled is text of length n that no other id's looks like.
func filled(id string, n int) string {
	id += " "
	return strings.Repeat(id, n/len(id)+1)[:n]
}
