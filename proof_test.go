package idlewise

import (
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/internal/tcpinfo"
)

// undeliveredRequest is the textbook case: 500 bytes were written before, all
// acknowledged, then a request of 200, which met a closed socket.
func undeliveredRequest() findings {
	return findings{
		info:    tcpinfo.Info{State: tcpinfo.Close, Acked: 501, Queued: 200},
		known:   true,
		shown:   shown{closeWait: true, pending: syscall.EPIPE},
		before:  500,
		written: 700,
	}
}

func TestARequestIsUndeliveredOnlyIfAllConditionsHold(t *testing.T) {
	require.True(t, undeliveredRequest().undelivered())

	// The FIN was not seen in time, but the error tells of it.
	f := undeliveredRequest()
	f.shown.closeWait = false
	require.True(t, f.undelivered())

	// A Write has consumed the error, but the FIN was seen.
	f = undeliveredRequest()
	f.shown.pending, f.shown.failed = nil, syscall.EPIPE
	require.True(t, f.undelivered())

	for _, c := range []struct {
		says  string
		spoil func(*findings)
	}{
		{"1: the kernel tells nothing", func(f *findings) { f.known = false }},
		{"1: a Write is not in the books yet", func(f *findings) { f.writing = true }},
		{"2: a byte of a response came", func(f *findings) { f.answered = true }},
		{"3: neither the FIN nor its error was seen", func(f *findings) { f.shown = shown{failed: syscall.EPIPE} }},
		{"4: no RST came yet", func(f *findings) { f.info.State = tcpinfo.CloseWait }},
		{"4: the error is a time-out's", func(f *findings) { f.shown.pending = syscall.ETIMEDOUT }},
		{"4: the error is this machine's", func(f *findings) { f.shown.pending = syscall.ECONNABORTED }},
		{"4: a time-out was consumed by a Write", func(f *findings) { f.shown.pending, f.shown.failed = nil, syscall.ETIMEDOUT }},
		{"4: there is no error at all", func(f *findings) { f.shown.pending = nil }},
		{"5: a byte of the request was acknowledged", func(f *findings) { f.info.Acked, f.info.Queued = 502, 199 }},
		{"6: bytes went another way than TCP's", func(f *findings) { f.info.Acked, f.info.Queued = 1, 0 }},
		{"6: more was written than the kernel knows of", func(f *findings) { f.written++ }},
		{"6: less was written than the kernel knows of", func(f *findings) { f.info.Queued++ }},
		{"the SYN was not acknowledged", func(f *findings) { f.info.Acked, f.before, f.written = 0, 0, 200 }},
	} {
		f := undeliveredRequest()
		c.spoil(&f)
		require.False(t, f.undelivered(), c.says)
	}
}
