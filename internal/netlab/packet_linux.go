package netlab

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Direction is one of the link's two ways.
type Direction int

// The two directions. Methods that take any number of them mean both by none.
const (
	ToServer Direction = iota // from the client
	ToClient                  // from the server
)

// String is "to server" or "to client".
func (d Direction) String() string {
	if d == ToServer {
		return "to server"
	}
	return "to client"
}

// Flags are those of a TCP header.
type Flags uint8

// The flags, in the header's bits (RFC 9293, section 3.1).
const (
	FIN Flags = 1 << iota
	SYN
	RST
	PSH
	ACK
)

// Has reports whether all of the given flags are set.
func (f Flags) Has(all Flags) bool { return f&all == all }

// String is as in tcpdump: "S", "S.", "F.", "R", "P.", ".".
func (f Flags) String() string {
	var b strings.Builder
	for i, letter := range []string{"F", "S", "R", "P", "."} {
		if f.Has(1 << i) {
			b.WriteString(letter)
		}
	}
	return b.String()
}

// Packet is what is read of an IPv4 packet. Fields of TCP are zero in others,
// such as ICMP.
type Packet struct {
	Direction Direction
	Protocol  uint8 // IPPROTO_TCP is 6
	Src, Dst  netip.AddrPort
	Seq, Ack  uint32 // as sent, not relative to the handshake's
	Flags     Flags
	Window    uint16 // not scaled
	Payload   int    // bytes behind the TCP header
	Size      int    // bytes of the whole packet
}

// PureAck reports whether the packet does nothing but acknowledge: no other
// flag, no payload. Keep-alive and window probes look so, too, and so do their
// answers.
func (p Packet) PureAck() bool { return p.TCP() && p.Flags == ACK && p.Payload == 0 }

// TCP reports whether it is a packet of TCP.
func (p Packet) TCP() bool { return p.Protocol == protocolTCP }

// String is the packet as tcpdump would show it.
func (p Packet) String() string { return p.text(p.Seq, p.Ack) }

func (p Packet) text(seq, ack uint32) string {
	if !p.TCP() {
		return fmt.Sprintf("%v > %v protocol %d, %d bytes", p.Src.Addr(), p.Dst.Addr(), p.Protocol, p.Size)
	}
	return fmt.Sprintf("%v > %v [%v] seq %d ack %d win %d len %d", p.Src, p.Dst, p.Flags, seq, ack, p.Window, p.Payload)
}

const protocolTCP = 6

// parse reads a packet. ok is false if it is not one of IPv4.
func parse(d Direction, b []byte) (p Packet, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return Packet{}, false
	}
	header := int(b[0]&0xf) * 4
	if header < 20 || header > len(b) {
		return Packet{}, false
	}
	src, _ := netip.AddrFromSlice(b[12:16])
	dst, _ := netip.AddrFromSlice(b[16:20])
	p = Packet{
		Direction: d,
		Protocol:  b[9],
		Src:       netip.AddrPortFrom(src, 0),
		Dst:       netip.AddrPortFrom(dst, 0),
		Size:      len(b),
	}
	// Only a first fragment has a TCP header, and Linux sends no others of TCP.
	segment := b[header:]
	if p.Protocol != protocolTCP || len(segment) < 20 {
		return p, true
	}
	p.Src = netip.AddrPortFrom(src, binary.BigEndian.Uint16(segment))
	p.Dst = netip.AddrPortFrom(dst, binary.BigEndian.Uint16(segment[2:]))
	p.Seq = binary.BigEndian.Uint32(segment[4:])
	p.Ack = binary.BigEndian.Uint32(segment[8:])
	p.Flags = Flags(segment[13]) & (FIN | SYN | RST | PSH | ACK)
	p.Window = binary.BigEndian.Uint16(segment[14:])
	p.Payload = max(len(segment)-int(segment[12]>>4)*4, 0)
	return p, true
}
