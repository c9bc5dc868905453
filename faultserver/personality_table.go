package faultserver

import "time"

// The sources that several rows share.
const (
	measured      = "measured, see personality_facts.md"
	documentation = "the project's documentation"
)

// personalities are the defaults of the servers and load balancers that people
// meet. What is not known of one is as in the zero personality, and its text
// says so.
var personalities = []personality{
	{
		name: "apache", aliases: []string{"httpd"}, source: measured + "; mod_reqtimeout's default",
		text:     "Apache httpd, event MPM. Announces its timeout to requests that ask for keep-alive.",
		shutdown: "graceful: idle connections closed at once, a request that crosses is answered with Connection: close, as is a busy one; HTTP/2 GOAWAY in two steps",
		idle:     5 * time.Second, ping: pingResets, told: 5 * time.Second, announce: ifAsked, counts: true,
		requests: 100, how: closeLinger, head: 20 * time.Second, says408: true,
	},
	{
		name: "aws-alb", aliases: []string{"alb"}, source: "docs.aws.amazon.com, Application Load Balancers: edit-load-balancer-attributes",
		text:     "AWS Application Load Balancer, to its clients. The client keep-alive duration ends a connection after an hour.",
		shutdown: "not documented; graceful",
		idle:     time.Minute, ping: pingIgnored, age: time.Hour,
	},
	{
		name: "aws-nlb", aliases: []string{"nlb"}, source: "docs.aws.amazon.com, Network Load Balancers: update-idle-timeout",
		text:     "AWS Network Load Balancer: the flow is forgotten, the next packet draws a RST. Any bytes reset the timer.",
		shutdown: "a deregistered target's flows go on for 300 s, nothing is announced",
		idle:     350 * time.Second, ping: pingResets, drop: dropReset, leaving: layerFour(300 * time.Second),
	},
	{
		name: "azure-lb", source: "learn.microsoft.com, Azure Load Balancer: TCP idle timeout",
		text:     "Azure Load Balancer, as it comes: the flow is forgotten in silence. Any bytes reset the timer.",
		shutdown: "flows go on, nothing is announced",
		idle:     4 * time.Minute, ping: pingResets, drop: dropSilent, leaving: layerFour(4 * time.Minute),
	},
	{
		name: "azure-lb-rst", source: "learn.microsoft.com, Azure Load Balancer: TCP reset",
		text:     "Azure Load Balancer with TCP reset on idle switched on.",
		shutdown: "flows go on, nothing is announced",
		idle:     4 * time.Minute, ping: pingResets, how: closeRST, leaving: layerFour(4 * time.Minute),
	},
	{
		name: "caddy", source: documentation + "; PING and the end of HTTP/2 " + measured,
		text:     "Caddy, which is Go's server with an idle timeout.",
		shutdown: "as go",
		idle:     5 * time.Minute, ping: pingIgnored, goAway: time.Second, leaving: goLeaves,
	},
	{
		name: "cloudflare", source: "developers.cloudflare.com, connection limits; closes at 400.0 s (measured)",
		text:     "Cloudflare, to its clients. (To origins it keeps connections for 900 s.)",
		shutdown: "not documented; graceful",
		idle:     400 * time.Second,
	},
	{
		name: "cloudfront", source: "docs.aws.amazon.com, CloudFront: origin keep-alive timeout",
		text:     "A peer with CloudFront's keep-alive timeout. In life CloudFront has it as the client of an origin.",
		shutdown: "not documented; graceful",
		idle:     5 * time.Second,
	},
	{
		name: "envoy", source: "envoyproxy.io: HttpProtocolOptions.idle_timeout (PINGs do not count), drain_timeout, --drain-time-s",
		text:     "Envoy. A limit on requests per connection is an option.",
		shutdown: "idle connections stay and are served; while draining each answer says Connection: close; HTTP/2 GOAWAY in two steps, 5 s apart; what is left after 600 s is closed",
		idle:     time.Hour, ping: pingIgnored,
		leaving: leaving{idle: idleServed, freshFor: 600 * time.Second, gap: 5 * time.Second, patience: 600 * time.Second},
	},
	{
		name: "falcon", source: documentation,
		text:     "Falcon. No idle timeout was found.",
		shutdown: "idle connections closed at once, busy ones answer with Connection: close, a first request that just slipped in is served; HTTP/2 one GOAWAY without error",
		leaving:  leaving{oneGoAway: true},
	},
	{
		name: "gcp-lb", aliases: []string{"gcp"}, source: "docs.cloud.google.com, external Application Load Balancers: request distribution, timeouts",
		text:     "Google Cloud's global external Application Load Balancer, to its clients. (Its backends it keeps for 600 s, fixed.) It may announce the end after any response, which an AnnounceClose or GoAway fault with a probability imitates.",
		shutdown: "answers with Connection: close, or GOAWAY, and closes",
		idle:     610 * time.Second,
	},
	{
		name: "go", aliases: []string{"net/http"}, source: measured + "; net/http/server.go",
		text:     "Go's net/http with the zero http.Server: no timeouts.",
		shutdown: "Shutdown: idle connections closed at once, busy ones answer with Connection: close, a request that arrives afterwards, also a first one, is hung up on; HTTP/2 one GOAWAY, and the end 1 s after the last stream",
		ping:     pingIgnored, goAway: time.Second, leaving: goLeaves,
	},
	{
		name: "gunicorn", source: measured,
		text:     "gunicorn with gthread or async workers. Looks at its connections once a second.",
		shutdown: "idle connections stay, and are served, until the busy ones have ended (30 s at most); the answer in flight announces nothing, later ones say Connection: close",
		idle:     2 * time.Second, ping: noHTTP2, late: time.Second,
		leaving: leaving{idle: idleWhenQuiet, busy: busySilent, lateAnnounced: true, patience: 30 * time.Second},
	},
	{
		name: "gunicorn-sync", source: documentation,
		text:     "gunicorn's sync worker: every answer ends its connection, and says so.",
		shutdown: "as gunicorn; there are no idle connections",
		ping:     noHTTP2, requests: 1, leaving: leaving{patience: 30 * time.Second},
	},
	{
		name: "haproxy", source: measured + "; Debian's haproxy.cfg",
		text:     "HAProxy as Debian configures it: timeout client 50 s. It has no defaults of its own.",
		shutdown: "soft stop and reload: idle connections closed at once, others answer with Connection: close; HTTP/2 GOAWAY in two steps, the second after the client timeout",
		idle:     50 * time.Second, ping: pingIgnored, head: 50 * time.Second, says408: true,
		leaving: leaving{gap: 50 * time.Second},
	},
	{
		name: "hypercorn", source: documentation + "; HTTP/2 " + measured,
		text:     "Hypercorn as documented. (Debian's 0.13.2 closes after every HTTP/1 answer without a word, and has no idle timeout on HTTP/2.)",
		shutdown: "idle connections closed at once, the answer in flight announces nothing; HTTP/2 one GOAWAY",
		idle:     5 * time.Second, requests: 1000,
		leaving: leaving{busy: busySilent, oneGoAway: true, patience: 3 * time.Second},
	},
	{
		name: "iis", source: documentation,
		text:     "IIS. How exactly it closes is not known; this one sends a FIN.",
		shutdown: "not known; graceful",
		idle:     120 * time.Second,
	},
	{
		name: "jetty", source: documentation + "; PING: unrestful.io/2016/01/22/ping.html",
		text:     "Jetty.",
		shutdown: "not measured; graceful",
		idle:     30 * time.Second, ping: pingResets,
	},
	{
		name: "kestrel", source: "learn.microsoft.com, KestrelServerLimits; PING: github.com/dotnet/aspnetcore/pull/24858",
		text:     "Kestrel (ASP.NET Core).",
		shutdown: "not measured; graceful",
		idle:     130 * time.Second, ping: pingResets, head: 30 * time.Second, says408: true,
	},
	{
		name: "nginx", source: measured + "; nginx.org, ngx_http_core_module",
		text:     "nginx built from source: keepalive_timeout 75 s, keepalive_requests 1000, keepalive_time 1 h. It announces only with the directive's second argument.",
		shutdown: "quit and reload: idle connections closed at once, all at one instant; busy ones and first requests answer with Connection: close; HTTP/2 one GOAWAY",
		idle:     75 * time.Second, ping: pingIgnored, requests: 1000, age: time.Hour, head: time.Minute,
		leaving: leaving{oneGoAway: true, freshFor: time.Minute},
	},
	{
		name: "nginx-packaged", source: "the distributions' nginx.conf; else as nginx",
		text:     "nginx as distributions configure it: keepalive_timeout 65 s.",
		shutdown: "as nginx",
		idle:     65 * time.Second, ping: pingIgnored, requests: 1000, age: time.Hour, head: time.Minute,
		leaving: leaving{oneGoAway: true, freshFor: time.Minute},
	},
	{
		name: "node", aliases: []string{"node20"}, source: measured,
		text:     "Node's http. Announces 5 s to everyone and closes a second later. Its http2 has no idle timeout.",
		shutdown: "server.close(): idle connections closed at once; all others stay, are served, and are told nothing, until their idle timeout; HTTP/2 is told nothing",
		idle:     6030 * time.Millisecond, idle2: noTimeout, ping: pingIgnored, told: 5 * time.Second, announce: always,
		head: time.Minute, says408: true,
		leaving: leaving{freshFor: time.Minute, busy: busyKept, patience: 5 * time.Minute},
	},
	{
		name: "puma", source: documentation + "; the rest " + measured,
		text:     "Puma 7.",
		shutdown: "connections without a request in progress closed at once, busy ones answer with Connection: close",
		idle:     65 * time.Second, ping: noHTTP2, late: 200 * time.Millisecond, requests: 999, head: 30 * time.Second,
		leaving: leaving{freshClosed: true},
	},
	{
		name: "puma6", source: documentation + "; the rest " + measured,
		text:     "Puma before 7: 20 s.",
		shutdown: "as puma",
		idle:     20 * time.Second, ping: noHTTP2, late: 200 * time.Millisecond, requests: 999, head: 30 * time.Second,
		leaving: leaving{freshClosed: true},
	},
	{
		name: "spring-boot", source: "github.com/spring-projects/spring-boot/issues/40108 and 40802",
		text:     "Spring Boot with server.shutdown=graceful, on Tomcat.",
		shutdown: "the answer in flight does not say Connection: close; a request on an idle connection is answered with a RST; what is left after 30 s is closed",
		idle:     time.Minute, told: time.Minute, announce: ifAsked, requests: 100, ping: pingResets, head: time.Minute, how: closeLinger,
		leaving: leaving{idle: idleReset, busy: busySilent, patience: 30 * time.Second},
	},
	{
		name: "tomcat", source: documentation + "; the rest " + measured,
		text:     "Tomcat's own default.",
		shutdown: "idle connections stay until the busy ones have ended, the answer in flight announces nothing, a request that arrives afterwards is hung up on; HTTP/2 GOAWAY in two steps",
		idle:     time.Minute, told: time.Minute, announce: ifAsked, requests: 100, ping: pingResets, head: time.Minute,
		how: closeLinger, leaving: tomcatLeaves,
	},
	{
		name: "tomcat-shipped", source: documentation + ": conf/server.xml; the rest " + measured,
		text:     "Tomcat with the server.xml it ships with: 20 s.",
		shutdown: "as tomcat",
		idle:     20 * time.Second, told: 20 * time.Second, announce: ifAsked, requests: 100, ping: pingResets, head: 20 * time.Second,
		how: closeLinger, leaving: tomcatLeaves,
	},
	{
		name: "undertow", source: documentation + "; PING: unrestful.io/2016/01/22/ping.html",
		text:     "Undertow.",
		shutdown: "not measured; graceful",
		idle:     time.Minute, ping: pingResets,
	},
	{
		name: "uvicorn", source: measured,
		text:     "uvicorn.",
		shutdown: "connections without a request in progress closed at once, the answer in flight announces nothing",
		idle:     5 * time.Second, ping: noHTTP2,
		leaving: leaving{freshClosed: true, busy: busySilent},
	},
}

// goLeaves is http.Server.Shutdown.
var goLeaves = leaving{hangsUp: true, freshFor: 5 * time.Second, oneGoAway: true}

// tomcatLeaves is Tomcat's stop, without Spring Boot.
var tomcatLeaves = leaving{idle: idleWhenQuiet, busy: busySilent, hangsUp: true}

// layerFour is a load balancer that knows nothing of HTTP.
func layerFour(patience time.Duration) leaving {
	return leaving{idle: idleServed, freshFor: patience, busy: busyKept, patience: patience}
}
