// Package debugpage serves one web page that shows what a Transport does, and
// why: every upstream's connections with their idle ages and deadlines, the ages
// at which the server closed connections and at which they were alive, the
// closes by reason, the requests that met a closed connection and what was known
// about them, and advice that can be pasted into a policy file.
//
//	http.Handle("/debug/idlewise", debugpage.Handler(transport))
//
// The page needs nothing from elsewhere, brings itself up to date, and is
// readable, if plainer, without JavaScript. The same address serves JSON to who
// asks for it by Accept: application/json or ?format=json.
//
// It shows upstreams' names, addresses, policies and errors; no paths, headers
// or bodies of requests, and none of the policy's functions. That is still more
// than strangers should see: serve it where net/http/pprof is served. What
// every part means stands in docs/page.md.
package debugpage
