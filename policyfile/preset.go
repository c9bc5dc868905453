package policyfile

import (
	"cmp"
	"slices"
	"sync"

	"github.com/idlewise/idlewise"
)

// A Preset is a policy that comes with the package, to be extended by those of
// files, and used by programs.
type Preset struct {
	Name   string
	Doc    string // a sentence
	Source string // where its values are from
	Policy idlewise.Policy
}

// Presets returns all presets, in the order of their names. The caller may change
// them.
//
// Those of servers and load balancers say after which time one that is not
// configured otherwise closes idle connections. It is the true time; the margin
// is subtracted when it is used.
func Presets() []Preset {
	all := make([]Preset, len(presets))
	for i, p := range presets {
		f := file{named: map[string]*block{}}
		all[i] = Preset{p.name, p.doc, p.source, f.policy(p.name, presetBlocks()[p.name].own)}
	}
	slices.SortFunc(all, func(a, b Preset) int { return cmp.Compare(a.Name, b.Name) })
	return all
}

// A preset is written as in files.
type preset struct{ name, text, doc, source string }

const (
	measured = "measured, see faultserver/personality_facts.md"
	projects = "the project's documentation"
	aws      = "docs.aws.amazon.com"
)

var presets = []preset{
	{"apache", "server_keep_alive: 5s", "Apache httpd: KeepAliveTimeout 5.", projects},
	{"aws-alb", "server_keep_alive: 60s", "AWS Application Load Balancer: idle timeout 60 s.", aws + ", Application Load Balancers: edit-load-balancer-attributes"},
	{"aws-nlb", "server_keep_alive: 350s", "AWS Network Load Balancer, which forgets a flow after 350 s and answers the next packet with a RST.", aws + ", Network Load Balancers: update-idle-timeout"},
	{"azure-lb", "server_keep_alive: 4m", "Azure Load Balancer, which forgets a flow after 4 min, by default in silence.", "learn.microsoft.com, Azure Load Balancer: TCP idle timeout"},
	{"behind-load-balancer", "retry: {max: 2, check: [502, 503, 504]}", "For what stands behind any load balancer: idempotent requests that it could not pass on are sent again, up to twice.", "RFC 9110 §15.6.3 to §15.6.5"},
	{"caddy", "server_keep_alive: 5m", "Caddy: idle 5m.", projects},
	{"cloudflare", "server_keep_alive: 400s", "Cloudflare, to its clients.", "developers.cloudflare.com, connection limits; closes at 400.0 s (measured)"},
	{"envoy", "server_keep_alive: 1h", "Envoy: idle_timeout 1 h.", "envoyproxy.io: HttpProtocolOptions.idle_timeout"},
	{"gcp-lb", "server_keep_alive: 610s", "Google Cloud's external Application Load Balancer, to its clients.", "docs.cloud.google.com, external Application Load Balancers: request distribution, timeouts"},
	{"gunicorn", "server_keep_alive: 2s", "gunicorn with gthread or async workers: keepalive 2. (Sync workers keep no connection.)", projects},
	{"haproxy-debian", "server_keep_alive: 50s", "HAProxy as Debian configures it, timeout client 50s. It has no default of its own.", "Debian's haproxy.cfg"},
	{"hypercorn", "server_keep_alive: 5s", "Hypercorn: keep_alive_timeout 5.", projects},
	{"iis", "server_keep_alive: 120s", "IIS: connectionTimeout 2 min.", projects},
	{"jetty", "server_keep_alive: 30s", "Jetty: idleTimeout 30000.", projects},
	{"kestrel", "server_keep_alive: 130s", "Kestrel (ASP.NET Core): KeepAliveTimeout 130 s.", "learn.microsoft.com, KestrelServerLimits"},
	{"nginx", "server_keep_alive: 75s", "nginx built from source: keepalive_timeout 75s.", "nginx.org, ngx_http_core_module"},
	{"nginx-packaged", "server_keep_alive: 65s", "nginx as distributions configure it: keepalive_timeout 65.", "the distributions' nginx.conf"},
	{"node", "server_keep_alive: 5s", "Node's http: keepAliveTimeout 5 s. (Version 20 closes a second later than that.)", measured},
	{"puma", "server_keep_alive: 65s", "Puma 7: persistent_timeout 65.", projects},
	{"puma6", "server_keep_alive: 20s", "Puma before 7: persistent_timeout 20.", projects},
	{"spring-boot", "server_keep_alive: 60s", "Spring Boot on its embedded Tomcat.", "as tomcat"},
	{"tomcat", "server_keep_alive: 60s", "Tomcat's own default, as when embedded: connectionTimeout 60000.", projects},
	{"tomcat-shipped", "server_keep_alive: 20s", "Tomcat with the server.xml it ships with: connectionTimeout 20000.", projects + ": conf/server.xml"},
	{"undertow", "server_keep_alive: 60s", "Undertow: NO_REQUEST_TIMEOUT 60 s.", projects},
	{"uvicorn", "server_keep_alive: 5s", "uvicorn: --timeout-keep-alive 5.", measured},
}

// presetBlocks are the presets as read, by name. They are not to be changed.
var presetBlocks = sync.OnceValue(func() map[string]*block {
	blocks := make(map[string]*block, len(presets))
	for _, p := range presets {
		var r reader
		blocks[p.name] = &block{own: make(settings)}
		if doc := r.document([]byte(p.text)); doc != nil {
			blocks[p.name] = r.block(doc, p.name, pos{})
		}
	}
	return blocks
})
