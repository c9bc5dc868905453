package debugpage

import (
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"html/template"
	"io"
	"strings"
	"time"
)

var (
	//go:embed page/page.html
	pageHTML string
	//go:embed page/page.css
	pageCSS string
	//go:embed page/format.js
	formatJS string
	//go:embed page/words.js
	wordsJS string
	//go:embed page/chart.js
	chartJS string
	//go:embed page/table.js
	tableJS string
	//go:embed page/detail.js
	detailJS string
	//go:embed page/main.js
	mainJS string
)

// The script is one, so that one hash allows it.
var script = strings.Join([]string{`"use strict";`, formatJS, wordsJS, chartJS, tableJS, detailJS, mainJS}, "\n")

// securityPolicy lets the page run its own script and style and ask its own
// origin for JSON, and nothing else: an upstream's name that got past the
// escaping could do nothing. (The icon is an empty data URL, lest browsers ask
// for favicon.ico.)
var securityPolicy = strings.Join([]string{
	"default-src 'none'",
	"script-src 'sha256-" + hash(script) + "'",
	"style-src 'sha256-" + hash(pageCSS) + "'",
	"connect-src 'self'",
	"img-src data:",
	"base-uri 'none'",
	"form-action 'none'",
	"frame-ancestors 'none'",
	"require-trusted-types-for 'script'",
}, "; ")

func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return base64.StdEncoding.EncodeToString(sum[:])
}

var pageTemplate = template.Must(template.New("page").Funcs(template.FuncMap{"short": short}).Parse(pageHTML))

// plainUpstreams bounds the table for browsers without JavaScript, which those
// with it get too.
const plainUpstreams = 200

// writeHTML writes the page. Everything but a plain table is filled in by the
// script.
func (p *page) writeHTML(w io.Writer) error {
	s := take(p.transport, func(string) bool { return false })
	all := len(s.Upstreams)
	s.Upstreams = s.Upstreams[:min(all, plainUpstreams)]
	return pageTemplate.Execute(w, struct {
		Title  string
		CSS    template.CSS
		Script template.JS
		S      Snapshot
		Left   int
		At     string
	}{p.title, template.CSS(pageCSS), template.JS(script), s, all - len(s.Upstreams), s.At.Format(time.DateTime)})
}
