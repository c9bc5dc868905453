package memnet

// State is a connection's state as one end's kernel sees it, in TCP_INFO's
// terms (tcpi_state).
type State uint8

const (
	// Established: no FIN was sent and none has arrived.
	Established State = iota
	// CloseWait: the other end's FIN has arrived, none was sent.
	CloseWait
	// FinWait: a FIN was sent, none has arrived (FIN_WAIT1 and FIN_WAIT2).
	FinWait
	// Closing: FINs went both ways, the own one is not acknowledged yet
	// (LAST_ACK and CLOSING).
	Closing
	// Closed: FINs went both ways and are acknowledged, or there was a RST.
	Closed
)

// String is the state's name in small letters.
func (s State) String() string {
	switch s {
	case Established:
		return "established"
	case CloseWait:
		return "close-wait"
	case FinWait:
		return "fin-wait"
	case Closing:
		return "closing"
	case Closed:
		return "closed"
	}
	return "unknown"
}

// Accounting is what one end's kernel knows of a connection. Only bytes of data
// count: neither SYN nor FIN, which Linux includes. Sent is always the sum of
// Acked and Queued.
type Accounting struct {
	State State

	// Sent is how many bytes Write took.
	Sent int64
	// Acked is how many of them are known to have reached the other end's
	// kernel (tcpi_bytes_acked). The acknowledgement takes a latency to come
	// back. It says nothing of the application there, and does not grow
	// after a RST.
	Acked int64
	// Queued is how many are not known to (SIOCOUTQ). It survives a RST.
	Queued int64
	// Received is how many bytes have arrived, read or not
	// (tcpi_bytes_received).
	Received int64

	// PendingError is what SO_ERROR would say, without clearing it:
	// syscall.ECONNRESET after a RST, syscall.EPIPE after a FIN and a RST;
	// nil once a Read or a Write has returned it.
	PendingError error
}

// Accounting may be called at any time. On a closed connection, where a kernel
// would no longer be asked, it still answers.
func (c *Conn) Accounting() Accounting {
	c.network.mu.Lock()
	defer c.network.mu.Unlock()
	a := Accounting{
		State:    c.stateLocked(),
		Sent:     c.sent,
		Acked:    min(c.acked, c.sent),
		Received: c.next,
	}
	a.Queued = a.Sent - a.Acked
	if c.finReceived {
		a.Received--
	}
	if c.pending != 0 {
		a.PendingError = c.pending
	}
	return a
}

func (c *Conn) stateLocked() State {
	switch {
	case c.gone:
		return Closed
	case c.finSent && c.finReceived:
		if c.acked > c.sent {
			return Closed
		}
		return Closing
	case c.finSent:
		return FinWait
	case c.finReceived:
		return CloseWait
	}
	return Established
}
