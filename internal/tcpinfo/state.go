package tcpinfo

// State is a connection's state in the kernel's numbers (tcpi_state,
// include/net/tcp_states.h).
type State uint8

// The states of a connection. Linux has more for sockets that do not carry one.
const (
	Established State = 1  // no FIN was sent and none has arrived
	SynSent     State = 2  // dialing
	SynReceived State = 3  // the handshake's last packet has not arrived
	FinWait1    State = 4  // a FIN was sent and is not acknowledged
	FinWait2    State = 5  // it is; the other end has sent none
	TimeWait    State = 6  // a program sees Close instead
	Close       State = 7  // both FINs are acknowledged, or there was a RST, or nobody answered
	CloseWait   State = 8  // the other end's FIN has arrived, none was sent
	LastAck     State = 9  // and then one was, and is not acknowledged
	Listen      State = 10 // a listener
	Closing     State = 11 // both FINs crossed, the own one is not acknowledged
)

// String is the state's name in small letters, as in "close-wait".
func (s State) String() string {
	names := [...]string{
		Established: "established",
		SynSent:     "syn-sent",
		SynReceived: "syn-received",
		FinWait1:    "fin-wait-1",
		FinWait2:    "fin-wait-2",
		TimeWait:    "time-wait",
		Close:       "close",
		CloseWait:   "close-wait",
		LastAck:     "last-ack",
		Listen:      "listen",
		Closing:     "closing",
	}
	if int(s) >= len(names) || names[s] == "" {
		return "unknown"
	}
	return names[s]
}
