package faultserver

import "io"

// sendInterims sends the interim responses that the plan asks for. It is false
// if the exchange has ended.
func (x *exchange) sendInterims() bool {
	f, ok := x.plan.get(InterimResponses)
	if !ok || x.c.isUnheard() {
		return true
	}
	for n := range f.Count {
		if n > 0 && f.After > 0 && !x.pause(f.After) {
			return false
		}
		if err := x.wire.interim(int(f.Code), nil); err != nil {
			x.body.seal()
			x.wire.failed(err)
			return false
		}
	}
	return true
}

// asking is ask as ContinueLate has it.
func (x *exchange) asking(ask func()) func() {
	f, ok := x.plan.get(ContinueLate)
	switch {
	case !ok:
		return ask
	case f.After == 0:
		return func() {}
	}
	return func() {
		if x.pause(x.c.srv.rules.delay(f)) {
			ask()
		}
	}
}

// armStall makes the request's body stall if the plan says so. forever means
// that neither handler nor answer will be.
func (x *exchange) armStall() (forever bool) {
	f, ok := x.plan.get(StallRequestBody)
	if !ok {
		return false
	}
	x.body.mu.Lock()
	x.body.stall = f.Bytes
	x.body.mu.Unlock()
	return f.After == 0 && !f.Executed
}

// stallLocked waits, with the lock released, if the body is to stall here.
func (b *requestBody) stallLocked() {
	if b.stall != 0 {
		return
	}
	b.stall = -1
	f, _ := b.x.plan.get(StallRequestBody)
	b.mu.Unlock()
	goesOn := false
	if f.After > 0 {
		goesOn = b.x.pause(b.x.c.srv.rules.delay(f))
	} else {
		<-b.x.request.Context().Done()
	}
	b.mu.Lock()
	if !goesOn {
		b.readErr = io.ErrUnexpectedEOF
	}
}
