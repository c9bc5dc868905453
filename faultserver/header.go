package faultserver

import (
	"fmt"
	"net/http"
)

// FaultHeader is the request header that carries faults for its own request, in
// the one-line form of [ParseFaults]:
//
//	X-Fault: fin-after-request executed; delay after=50ms
//
// It is read if Config.HeaderFaults is set, and taken out before the handler
// sees the request. Its faults come before those in force on the server. A
// header that cannot be read is answered with 400 and the mistakes, and the
// handler does not run.
//
// Only faults that are judged when a request's head has been read can be asked
// for, and only on a protocol on which they exist. Nth and Times count over
// requests and are refused. The other selectors work: with reused_only a fault
// strikes the attempt on a pooled connection and spares the one on a fresh
// connection.
const FaultHeader = "X-Fault"

// maxFaultHeader bounds one header line.
const maxFaultHeader = 8 << 10

// takeHeaderFaults returns the faults that the event's request asks for itself
// and that strike it, and takes them out of its header.
func (c *conn) takeHeaderFaults(e event) (plan, error) {
	if !c.srv.set.headerFaults {
		return nil, nil
	}
	lines := e.request.Header[FaultHeader]
	if len(lines) == 0 {
		return nil, nil
	}
	delete(e.request.Header, FaultHeader)
	var p plan
	for i, line := range lines {
		faults, err := parseHeaderFaults(line, i+1, e.proto, c.srv.supports)
		if err != nil {
			return nil, err
		}
		for _, f := range faults {
			if r := (&rule{fault: f}); r.fits(e) && !p.precludes(&f) && c.srv.rules.strikesOnce(r) {
				p = append(p, f)
			}
		}
	}
	return p, nil
}

// parseHeaderFaults reads one header line; proto 0 stands for any protocol.
// supports says what cannot be had on the server.
func parseHeaderFaults(text string, line int, proto protoSet, supports func(Fault) error) ([]Fault, error) {
	d := newDecoder(FaultHeader)
	if len(text) > maxFaultHeader {
		return nil, &ParseError{File: FaultHeader, Line: line, Column: 1, Message: fmt.Sprintf("is longer than %d bytes", maxFaultHeader)}
	}
	nodes := d.oneLineFaults(text, line)
	if err := d.err(); err != nil {
		return nil, err
	}
	faults := make([]Fault, len(nodes))
	for i, n := range nodes {
		path := ""
		if len(nodes) > 1 {
			path = fmt.Sprintf("[%d]", i)
		}
		d.fault(n, &faults[i], path)
		bad := func(field, format string, args ...any) {
			d.validate(path, &fieldError{field, format, args})
		}
		switch f := faults[i]; {
		case f.Kind == 0: // reported
		case f.Kind.spec().at != atRequest:
			bad("Kind", "%v is not judged for one request: inject it on the server", f.Kind)
		case f.Nth != 0:
			bad("Nth", "a request's own faults are for this request alone")
		case f.Times != 0:
			bad("Times", "a request's own faults are for this request alone")
		default:
			if err := supports(f); err != nil {
				bad("Kind", "%v", err)
			} else if protos := f.Kind.spec().protos; proto != 0 && protos&proto == 0 {
				bad("Kind", "%v does not exist on this request's protocol: send the request over %v", f.Kind, protos)
			}
		}
	}
	return faults, d.err()
}

// strikesOnce decides for a rule that is in no list.
func (rs *rules) strikesOnce(r *rule) bool {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	return rs.strikesLocked(r)
}

// refuseHeader answers a request whose faults cannot be read.
func (x *exchange) refuseHeader() bool {
	x.w = newResponse(x)
	http.Error(x.w, x.badHeader.Error(), http.StatusBadRequest)
	return x.finish()
}
