package faultserver

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// Resolver returns a resolver that asks a name server inside this process,
// which answers as Server.SetNames says, struck by the Lookup faults. Use it in
// a net.Dialer:
//
//	d := &net.Dialer{Resolver: s.Resolver()}
//	client := &http.Client{Transport: &http.Transport{DialContext: d.DialContext}}
//
// It is Go's own resolver (PreferGo), with what the system tells that one:
// /etc/hosts comes first, resolv.conf gives search domains, attempts and
// timeout (5 s). Answers are not cached. After Close lookups fail.
//
// It works inside a testing/synctest bubble if the process has resolved some
// name outside before ("localhost" will do): package net makes a channel then
// that must not belong to the bubble.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(_ context.Context, network, _ string) (net.Conn, error) {
		client, server := net.Pipe()
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.closed {
			client.Close()
			return nil, errors.New("faultserver: the name server is closed")
		}
		ended := make(chan struct{})
		s.wg.Go(func() {
			defer close(ended)
			s.serveNames(server, network)
		})
		s.wg.Go(func() {
			select {
			case <-s.stop:
			case <-ended:
			}
			server.Close()
		})
		return client, nil
	}}
}

// serveNames answers the questions of one connection. They have TCP's framing
// whatever the network: Go's resolver uses it on everything that is not a
// net.PacketConn.
func (s *Server) serveNames(nc net.Conn, network string) {
	udp := strings.HasPrefix(network, "udp")
	for {
		var size [2]byte
		if _, err := io.ReadFull(nc, size[:]); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(nc, query); err != nil {
			return
		}
		reply, late := s.answerName(query, network, udp)
		if !sleep(late, s.stop) {
			return
		}
		if reply == nil { // silence: the client gives up some time
			continue
		}
		binary.BigEndian.PutUint16(size[:], uint16(len(reply)))
		if _, err := nc.Write(append(size[:], reply...)); err != nil {
			return
		}
	}
}

// answerName makes the reply to one query, nil for none, and says how much
// later it is to be sent.
func (s *Server) answerName(query []byte, network string, udp bool) (reply []byte, late time.Duration) {
	var p dnsmessage.Parser
	head, err := p.Start(query)
	if err != nil {
		return nil, 0
	}
	q, err := p.Question()
	if err != nil {
		return nil, 0
	}
	host := canonicalHost(q.Name.String())
	struck := s.rules.judge(event{at: atLookup, proto: onBoth, host: host})
	for _, f := range struck {
		if f.Kind == LookupDelay {
			late += s.rules.delay(f)
		}
	}
	a := nameAnswer{id: head.ID, recursion: head.RecursionDesired, question: q}
	known, exists := s.addressesOf(host)
	switch {
	case struck.has(LookupServFail):
		a.code = dnsmessage.RCodeServerFailure
	case struck.has(LookupNXDomain):
		a.code = dnsmessage.RCodeNameError
	case struck.has(LookupEmpty):
	case struck.has(LookupWrong):
		f, _ := struck.get(LookupWrong)
		_, wrong, _ := parseWrong(f.Value)
		a.addresses = wrong
	case !exists:
		a.code = dnsmessage.RCodeNameError
	default:
		a.addresses = known
	}
	reply = a.pack(udp && struck.has(LookupTruncated), maxReply(&p, udp))
	rec := LookupRecord{Name: host, Type: strings.TrimPrefix(q.Type.String(), "Type"), Network: network}
	for _, f := range struck {
		rec.Faults = append(rec.Faults, f.Kind)
	}
	if struck.has(LookupSilence) {
		reply = nil
	} else {
		rec.Outcome, rec.Addresses = a.outcome()
	}
	s.journal.lookedUp(rec)
	return reply, late
}

// maxReply is how long a reply may be: over UDP what the query's EDNS option
// allows, else 512 bytes (RFC 1035 section 4.2.1, RFC 6891).
func maxReply(p *dnsmessage.Parser, udp bool) int {
	if !udp {
		return 1<<16 - 1
	}
	const plain = 512
	if p.SkipAllQuestions() != nil || p.SkipAllAnswers() != nil || p.SkipAllAuthorities() != nil {
		return plain
	}
	for {
		h, err := p.AdditionalHeader()
		if err != nil {
			return plain
		}
		if h.Type == dnsmessage.TypeOPT {
			return max(plain, int(h.Class)) // it stands in the place of the class
		}
		if p.SkipAdditional() != nil {
			return plain
		}
	}
}

// nameAnswer is what is said about one question.
type nameAnswer struct {
	id        uint16
	recursion bool
	question  dnsmessage.Question
	code      dnsmessage.RCode
	addresses []netip.Addr
	truncated bool // set by pack
}

// fitting returns those of the addresses that were asked for.
func (a *nameAnswer) fitting() []netip.Addr {
	var fit []netip.Addr
	for _, ip := range a.addresses {
		if ip.Is4() && a.question.Type == dnsmessage.TypeA || ip.Is6() && a.question.Type == dnsmessage.TypeAAAA {
			fit = append(fit, ip)
		}
	}
	return fit
}

// pack writes the message. One that is cut off, or too long, has no answers and
// says so.
func (a *nameAnswer) pack(cut bool, limit int) []byte {
	msg := dnsmessage.Message{
		Header: dnsmessage.Header{
			ID: a.id, Response: true, Authoritative: true, RecursionDesired: a.recursion,
			RecursionAvailable: true, // else Go takes an empty answer for a lame referral
			RCode:              a.code,
		},
		Questions: []dnsmessage.Question{a.question},
	}
	for _, ip := range a.fitting() {
		h := dnsmessage.ResourceHeader{Name: a.question.Name, Class: dnsmessage.ClassINET, TTL: 1}
		if ip.Is4() {
			h.Type = dnsmessage.TypeA
			msg.Answers = append(msg.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AResource{A: ip.As4()}})
		} else {
			h.Type = dnsmessage.TypeAAAA
			msg.Answers = append(msg.Answers, dnsmessage.Resource{Header: h, Body: &dnsmessage.AAAAResource{AAAA: ip.As16()}})
		}
	}
	b, err := msg.Pack()
	if err != nil {
		return nil
	}
	if cut || len(b) > limit {
		a.truncated = true
		msg.Truncated, msg.Answers = true, nil
		b, _ = msg.Pack()
	}
	return b
}

func (a *nameAnswer) outcome() (string, []string) {
	var shown []string
	switch {
	case a.truncated:
		return "truncated", nil
	case a.code == dnsmessage.RCodeNameError:
		return "nxdomain", nil
	case a.code == dnsmessage.RCodeServerFailure:
		return "servfail", nil
	}
	for _, ip := range a.fitting() {
		shown = append(shown, ip.String())
	}
	if len(shown) == 0 {
		return "empty", nil
	}
	return "answered", shown
}
