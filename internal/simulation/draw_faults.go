package simulation

import (
	"fmt"
	"strings"
)

// kindOf is the kind of a fault in its one-line form.
func kindOf(fault string) string {
	kind, _, _ := strings.Cut(fault, " ")
	return kind
}

// lies reports whether the fault leaves it to others where a body ends: nobody could
// see what another fault does to it.
func lies(fault string) bool {
	return kindOf(fault) == "close-delimited" || kindOf(fault) == "content-length-too-long"
}

// forged is what a server says unasked: no call's answer.
const forged = `value="HTTP/1.1 200 OK\r\nX-Forged: yes\r\nContent-Length: 6\r\n\r\nforged"`

// fault draws one that strikes now and then. What lies about the length of a body so
// that nobody could notice is not among them.
func (d dice) fault(proto Protocol, idle Duration) string {
	both := []string{
		"fin-after-request", "fin-after-request executed", "rst-after-request", "rst-after-request executed",
		"silent-close", "close-in-request-body bytes=300", "close-in-request-body bytes=300 executed",
		"close-in-body", "never-answer", "delay after=30ms jitter=500ms", "status code=503", `status code=503 value="1"`, "status code=429",
		"close-after-requests requests=3", "close-after-requests requests=3 announced", "close-after-age after=4s",
		"stall-in-body bytes=20 after=700ms", "slow-body rate=5000", "stall-request-body bytes=100 after=900ms",
		"interim-responses count=2 code=103", "vanish-on-request", "vanish-on-request executed",
		"crash-on-request after=300ms", "crash-on-request executed after=300ms",
	}
	idles := []string{"idle-close", "idle-close", "idle-reset", "idle-vanish", "idle-forget"}
	accepts := []string{"accept-reset", "accept-late after=200ms", "latency after=30ms jitter=10ms", "slow-close after=50ms", "bandwidth rate=50000"}
	if proto.http2() {
		both = append(both,
			"goaway", "goaway after=50ms", "goaway-below", "goaway-below code=11", "goaway-error code=2", "goaway-error code=2 executed",
			"close-without-goaway", "close-without-goaway executed", "reset-stream code=7", "reset-stream code=7", "reset-stream code=2",
			"reset-stream code=2 executed", "reset-stream code=2 executed", "reset-stream code=1 executed", "reset-stream-after-headers code=2", "goaway-twice after=20ms", "goaway-ahead",
			"goaway-stay after=2s", "change-max-streams count=1", "close-in-frame", "reset-stream-after-answer", "bad-hpack",
			"ping-late", "settings-late after=100ms", "start-max-streams count=2",
		)
		idles = append(idles, "idle-goaway", "idle-goaway")
	} else {
		both = append(both,
			"close-on-reuse", "announce-close", "announce-stay", "announce-close-late after=100ms", "close-in-status-line", "close-in-headers",
			"surplus-bytes "+forged, `surplus-bytes value="x"`, "half-close", "half-close after=1s",
			"close-delimited announced", "close-delimited", "content-length-too-long", "broken-chunk bytes=10", "raw-answer value=junk executed", "early-answer code=413 bytes=100",
			`status-line value="HTTP/1.1 abc"`, `keep-alive-header value="timeout=1"`,
		)
		idles = append(idles, "idle-408", "idle-half-close", "idle-bytes "+forged)
	}
	switch {
	case d.percent(25):
		f := fmt.Sprintf("%s after=%v", pick(d, idles...), pick(d, idle, idle/2, idle-idle/5, 50*ms))
		if d.percent(50) {
			f += fmt.Sprintf(" jitter=%v", pick(d, 5*ms, idle/2))
		}
		return f
	case d.percent(10):
		return pick(d, accepts...) + " probability=0.3"
	}
	f := pick(d, both...)
	switch kindOf(f) {
	case "close-after-requests", "close-after-age", "keep-alive-header":
		return f
	case "ping-late", "settings-late", "start-max-streams":
		return f + " probability=0.5"
	case "crash-on-request":
		return f + " probability=0.03"
	}
	if d.percent(30) && kindOf(f) != "close-on-reuse" {
		f += " reused_only"
	}
	return f + pick(d, " probability=0.05", " probability=0.2", " probability=0.6", " times=1", " nth=3")
}
