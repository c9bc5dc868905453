package faultserver

import "strings"

// validateTogether reports selectors that no request can satisfy all at once,
// and those that no request can ever satisfy.
func (f Fault) validateTogether(bad func(string, string, ...any)) {
	first := f.NthOnConn == 1
	if first && f.ReusedOnly {
		bad("ReusedOnly", "contradicts %v 1: a connection's first request is not on a reused one", fieldName("NthOnConn"))
	}
	if first && f.IdleAtLeast > 0 {
		bad("IdleAtLeast", "contradicts %v 1: before its first request a connection is not idle", fieldName("NthOnConn"))
	}
	if first && f.Kind == CloseOnReuse {
		bad("NthOnConn", "1 contradicts %v, which strikes only later requests", f.Kind)
	}
	if f.Nth > 0 && f.Times > 1 {
		bad("Times", "%d contradicts %v %d, which strikes once", f.Times, fieldName("Nth"), f.Nth)
	}
	if f.Kind == CloseAfterRequests && f.NthOnConn > 0 && f.NthOnConn < f.Requests {
		bad("NthOnConn", "%d contradicts %v %d", f.NthOnConn, fieldName("Requests"), f.Requests)
	}
	if f.Path != "" && !strings.HasPrefix(f.Path, "/") && f.Path != "*" {
		bad("Path", "%q: a request's path begins with a slash", f.Path)
	}
	if strings.ContainsAny(f.Method, " \t,;:/\"") {
		bad("Method", "%q is not one method; inject a fault for each", f.Method)
	}
}
