package faultserver

// skippedIDs are the stream ids that a client passed over: with the first use of
// a higher id they are closed, and to open one nevertheless is an error of the
// connection (RFC 9113 section 5.1.1). A stream that has been open is none of
// them, for what is still sent on it may have crossed its end. Clients take ids
// in turn, so that this is empty as a rule.
type skippedIDs []idGap

// idGap has all ids between its ends, without these.
type idGap struct{ after, before uint32 }

// maxIDGaps bounds what is remembered of a client that skips on and on; the
// oldest gap is forgotten first.
const maxIDGaps = 100

// add takes in that the client's next stream after one is another.
func (s *skippedIDs) add(after, next uint32) {
	if next-after <= 2 {
		return
	}
	if len(*s) == maxIDGaps {
		*s = append((*s)[:0], (*s)[1:]...)
	}
	*s = append(*s, idGap{after, next})
}

func (s skippedIDs) has(id uint32) bool {
	for _, gap := range s {
		if gap.after < id && id < gap.before {
			return true
		}
	}
	return false
}
