package faultserver

// end is what a fault does to the end of the request that it strikes.
type end uint8

const (
	noEnd    end = iota
	withheld     // there is no answer, or another than HTTP's
	answered     // the answer is the fault's, not the handler's
	cutOff       // the answer, whoever's, is broken off, or such that no client may take it
)

// end returns what the fault does to a request's end.
func (f *Fault) end() end {
	switch f.Kind {
	case CloseOnReuse, NeverAnswer, FinAfterRequest, RstAfterRequest, CloseInRequestBody, VanishOnRequest, CrashOnRequest,
		CloseWithoutGoAway, GoAwayBelow, GoAwayTwice, GoAwayError, ResetStream, RawAnswer, RandomBytes:
		return withheld
	case StallRequestBody:
		if f.After == 0 {
			return withheld
		}
	case Status, EarlyAnswer:
		return answered
	case CloseInStatusLine, CloseInHeaders, CloseInBody, BrokenChunk, ResetStreamAfterHeaders, CloseInFrame, BadHPACK,
		BadHeaders, HeadersInterrupted, OversizeFrame, BadTrailers:
		return cutOff
	case StallInBody:
		if f.After == 0 {
			return cutOff
		}
	}
	return noEnd
}

// precludes reports whether the request that the plan strikes has its end
// already, so that the fault can do nothing to it any more. An answer that is a
// fault's can be cut off as the handler's can.
func (p plan) precludes(f *Fault) bool {
	e := f.end()
	if e == noEnd {
		return false
	}
	for i := range p {
		switch before := p[i].end(); {
		case before == noEnd, before == answered && e == cutOff, before == cutOff && e == answered:
		default:
			return true
		}
	}
	return false
}
