package debugpage

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/idlewise/idlewise"
)

// An Option changes what Handler serves.
type Option func(*page)

// WithTitle says in the page's title whose Transport it is, such as a service's
// name, for who has several pages open. Default: none.
func WithTitle(title string) Option { return func(p *page) { p.title = title } }

// A page serves what a Transport does.
type page struct {
	transport *idlewise.Transport
	title     string
}

// Handler returns the handler of a page about t, for GET and HEAD at whatever
// path it is mounted. It may be used by any number of callers; each look at the
// page costs the requests to each upstream a few short locks.
func Handler(t *idlewise.Transport, opts ...Option) http.Handler {
	p := &page{transport: t}
	for _, o := range opts {
		o(p)
	}
	return p
}

func (p *page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", securityPolicy)
	h.Set("Vary", "Accept")
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		h.Set("Allow", "GET, HEAD")
		http.Error(w, "debugpage: only GET and HEAD are served", http.StatusMethodNotAllowed)
		return
	}
	var body bytes.Buffer
	var err error
	if wantsJSON(r) {
		h.Set("Content-Type", "application/json; charset=utf-8")
		err = json.NewEncoder(&body).Encode(p.snapshot(r))
	} else {
		h.Set("Content-Type", "text/html; charset=utf-8")
		err = p.writeHTML(&body)
	}
	if err != nil {
		slog.ErrorContext(r.Context(), "idlewise: debugpage", "error", err)
		http.Error(w, "debugpage: the page could not be made; the log says why", http.StatusInternalServerError)
		return
	}
	h.Set("Content-Length", strconv.Itoa(body.Len()))
	if r.Method == http.MethodGet {
		w.Write(body.Bytes()) // who has left does not want it
	}
}

// snapshot is what r asks for: everything, or with ?detail=NAME, once or more
// often, the details of these upstreams only. ?detail= is for none.
func (p *page) snapshot(r *http.Request) Snapshot {
	names, some := r.URL.Query()["detail"]
	if !some {
		return Take(p.transport)
	}
	wanted := make(map[string]bool)
	for _, name := range names {
		wanted[name] = true
	}
	return take(p.transport, func(name string) bool { return wanted[name] })
}

// wantsJSON reports whether r prefers JSON to HTML. Who accepts anything, such
// as curl, gets HTML as from any page.
func wantsJSON(r *http.Request) bool {
	switch r.URL.Query().Get("format") {
	case "json":
		return true
	case "html":
		return false
	}
	html, js := 0.0, 0.0
	for _, part := range strings.Split(strings.Join(r.Header.Values("Accept"), ","), ",") {
		kind, params, err := mime.ParseMediaType(part)
		if err != nil {
			continue
		}
		q := 1.0
		if s, ok := params["q"]; ok {
			if q, err = strconv.ParseFloat(s, 64); err != nil {
				continue
			}
		}
		switch kind {
		case "application/json":
			js = max(js, q)
		case "text/html":
			html = max(html, q)
		}
	}
	return js > html
}
