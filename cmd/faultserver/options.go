package main

import (
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/idlewise/idlewise/faultserver"
)

// options are the command line.
type options struct {
	config       faultserver.Config
	listen       string
	control      string
	journal      string
	certOut      string
	drainTimeout time.Duration
	list         bool
	version      bool
}

const usage = `An HTTP server that misbehaves on purpose.

  faultserver -personality uvicorn -listen 127.0.0.1:8080
        closes idle connections after 5 s, as uvicorn does
  faultserver -fault 'fin-after-request executed nth=3 method=POST'
        executes the third POST and loses its answer
  faultserver -fault 'status code=503 times=2' -fault 'delay after=200ms jitter=50ms'
        fails two requests, then serves slowly
  faultserver -handler proxy:http://127.0.0.1:9000 -control 127.0.0.1:8081
        stands before a server of yours; then
        curl -H 'Content-Type: text/plain' -d 'rst-after-request times=1' http://127.0.0.1:8081/faults
  faultserver -scenario uvicorn-five-seconds -time-scale 10
        re-enacts an incident, ten times as fast
  faultserver -header-faults
        lets requests ask: curl -H 'X-Fault: status code=503' http://127.0.0.1:8080/

A fault is a kind, selectors and parameters, named as in scenarios; -list shows
all kinds. SIGTERM or Ctrl-C drains and prints a summary; a second one ends at
once.

`

func parseOptions(args []string, stderr io.Writer) (*options, error) {
	opt := &options{}
	cfg := &opt.config
	var scenario, handler, protocols, cert, key string
	var faults []string
	var origins []string // of cfg.Faults
	fs := flag.NewFlagSet(commandName, flag.ContinueOnError)
	fs.SetOutput(io.Discard) // a mistake is said once, without the usage
	fs.Usage = func() {}
	fs.StringVar(&opt.listen, "listen", "127.0.0.1:8080", "`address` to listen on; port 0 takes a free one")
	fs.StringVar(&cfg.Personality, "personality", "", "`name` of the server to be like, see -list")
	valueVar(fs, &cfg.TimeScale, "a number, such as 10", parseFloat, "time-scale", "`factor` by which the personality's, and a scenario's, times pass faster")
	fs.StringVar(&scenario, "scenario", "", "`name` of an embedded scenario, see -list, or a file that ends in .yaml, .yml or .json")
	fs.StringVar(&handler, "handler", "echo", "what answers: `echo or proxy:URL`")
	fs.BoolVar(&cfg.TLS, "tls", false, "serve TLS, with a certificate made for localhost unless -cert is given")
	fs.StringVar(&cert, "cert", "", "PEM `file` with the certificate chain; needs -key")
	fs.StringVar(&key, "key", "", "PEM `file` with the private key; needs -cert")
	fs.StringVar(&opt.certOut, "cert-out", "", "`file` to write the certificate to, as PEM, for clients to trust")
	fs.StringVar(&protocols, "protocols", "", "comma-separated: http1, http2 (under TLS), h2c (without)")
	fs.StringVar(&opt.control, "control", "", "`address` of the control endpoint; none without it")
	fs.BoolVar(&cfg.ControlRemote, "control-remote", false, "let other machines use the control endpoint")
	fs.BoolVar(&cfg.HeaderFaults, "header-faults", false, "let requests carry faults for themselves in X-Fault")
	fs.Func("fault", "`fault` in force from the start, such as 'status code=503 times=2'; may be repeated", func(text string) error {
		faults = append(faults, text)
		return nil
	})
	valueVar(fs, &cfg.Seed, "a whole number from 0 on", parseUint, "seed", "`number` that decides probabilities and jitter")
	fs.StringVar(&opt.journal, "journal", "", "`file` to write the journal to, as JSON lines, at the end")
	opt.drainTimeout = 30 * time.Second
	valueVar(fs, &opt.drainTimeout, "a duration, such as 30s or 2m", time.ParseDuration, "drain-timeout", "`duration` to drain at most (default 30s)")
	fs.BoolVar(&opt.list, "list", false, "print personalities, scenarios and faults, and end")
	fs.BoolVar(&opt.version, "version", false, "print the version, and end")
	if err := fs.Parse(args); errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(stderr, usage)
		fs.SetOutput(stderr)
		fs.PrintDefaults()
		return nil, err
	} else if err != nil {
		return nil, fmt.Errorf("%w; -help shows all flags", err)
	}
	if opt.list || opt.version {
		return opt, nil
	}

	var errs []error
	note := func(err error) {
		if err != nil {
			errs = append(errs, err)
		}
	}
	if fs.NArg() > 0 {
		note(fmt.Errorf("%q is not a flag", fs.Arg(0)))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if given["time-scale"] && cfg.TimeScale == 0 {
		note(errors.New("-time-scale: 0 is not a factor above 0"))
	}
	if opt.drainTimeout < 0 {
		note(fmt.Errorf("-drain-timeout: %v is negative", opt.drainTimeout))
	}
	if cfg.ControlRemote && opt.control == "" {
		note(errors.New("-control-remote: needs -control"))
	}
	var err error
	cfg.Handler, err = parseHandler(handler)
	note(err)
	for i, text := range faults {
		origin := "-fault"
		if len(faults) > 1 {
			origin = fmt.Sprintf("-fault (no. %d)", i+1)
		}
		parsed, err := faultserver.ParseFaults(text)
		for _, e := range faultserver.ParseErrors(err) {
			e.File = origin
		}
		if err == nil && len(parsed) == 0 {
			err = errors.New("-fault: is empty")
		}
		note(err)
		if err == nil { // what could not be read would be reported a second time, as an invalid fault
			cfg.Faults = append(cfg.Faults, parsed...)
			origins = append(origins, slices.Repeat([]string{origin}, len(parsed))...)
		}
	}
	cfg.Protocols, err = parseProtocols(protocols)
	note(err)
	if scenario != "" {
		cfg.Scenario, err = faultserver.LoadScenario(scenario)
		note(inFlags(err))
	}
	note(loadCertificate(cfg, cert, key))
	if opt.certOut != "" && !cfg.TLS && (cfg.Scenario == nil || !cfg.Scenario.Server.TLS) {
		note(errors.New("-cert-out: needs -tls"))
	}
	note(listenOn(cfg, opt.listen))
	if opt.control != "" {
		if err := checkAddress("-control", opt.control); err != nil {
			note(err)
		} else if !isLoopback(opt.control) && !cfg.ControlRemote {
			note(fmt.Errorf("-control: %s can be reached from other machines: use 127.0.0.1, or add -control-remote", opt.control))
		}
	}
	note(inFlags(cfg.Validate(), origins...))
	return opt, errors.Join(errs...)
}

// flagNames say which flag a field of Config stands for.
var flagNames = strings.NewReplacer(
	"faultserver: Config.Personality:", "-personality:",
	"faultserver: Config.TimeScale:", "-time-scale:",
	"faultserver: Config.Protocols: HTTP2 needs TLS; without it, set UnencryptedHTTP2", "-protocols: http2 needs -tls; without it, use h2c",
	"faultserver: Config.Protocols: UnencryptedHTTP2 is set, but TLS is true", "-protocols: h2c is without TLS; with -tls, use http2",
	"faultserver: Config.Protocols:", "-protocols:",
	"faultserver: Config.Scenario:", "-scenario:",
	"faultserver: unknown scenario", "-scenario: unknown scenario",
	"faultserver: ", "",
)

// inFlags says the same of flags. origins are the flags that Config.Faults come from.
func inFlags(err error, origins ...string) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	for i, origin := range origins {
		text = strings.ReplaceAll(text, fmt.Sprintf("faultserver: Config.Faults[%d]:", i), origin+":")
	}
	return errors.New(flagNames.Replace(text))
}

// valueVar defines a flag that says what its value has to be.
func valueVar[T any](fs *flag.FlagSet, into *T, wanted string, parse func(string) (T, error), name, usage string) {
	fs.Func(name, usage, func(text string) error {
		v, err := parse(text)
		if err != nil {
			return errors.New("it is to be " + wanted)
		}
		*into = v
		return nil
	})
}

func parseFloat(text string) (float64, error) { return strconv.ParseFloat(text, 64) }
func parseUint(text string) (uint64, error)   { return strconv.ParseUint(text, 0, 64) }

func parseProtocols(names string) (*http.Protocols, error) {
	if names == "" {
		return nil, nil
	}
	p := new(http.Protocols)
	for name := range strings.SplitSeq(names, ",") {
		switch strings.TrimSpace(name) {
		case "http1":
			p.SetHTTP1(true)
		case "http2":
			p.SetHTTP2(true)
		case "h2c":
			p.SetUnencryptedHTTP2(true)
		default:
			return nil, fmt.Errorf("-protocols: unknown protocol %q; known: http1, http2, h2c", name)
		}
	}
	return p, nil
}

func loadCertificate(cfg *faultserver.Config, cert, key string) error {
	switch {
	case cert == "" && key == "":
		return nil
	case cert == "":
		return errors.New("-key: needs -cert")
	case key == "":
		return errors.New("-cert: needs -key")
	}
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		return fmt.Errorf("-cert %s, -key %s: %w", cert, key, err)
	}
	cfg.TLS = true
	cfg.TLSConfig = &tls.Config{Certificates: []tls.Certificate{pair}}
	return nil
}

func checkAddress(flag, address string) error {
	_, port, err := net.SplitHostPort(address)
	if err == nil {
		_, err = net.LookupPort("tcp", port)
	}
	if err != nil {
		return fmt.Errorf("%s: %w; an address is host:port, such as 127.0.0.1:8080", flag, err)
	}
	return nil
}

// listenOn sets the address. The server makes its listener itself, so that it
// can make it again after an outage.
func listenOn(cfg *faultserver.Config, address string) error {
	if err := checkAddress("-listen", address); err != nil {
		return err
	}
	addr, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return fmt.Errorf("-listen: %w", err)
	}
	host := addr.IP.String()
	if addr.IP == nil {
		host = "0.0.0.0"
		if ln, err := net.Listen("tcp6", "[::]:0"); err == nil { // takes IPv4 too
			ln.Close()
			host = "::"
		}
	}
	cfg.Addresses, cfg.Port = []string{host}, addr.Port
	return nil
}

// isLoopback reports whether an address to listen on is this machine's alone.
func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && addr.Unmap().IsLoopback()
}
