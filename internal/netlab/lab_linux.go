package netlab

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The two addresses of every lab. Labs do not see each other, so all have the
// same.
const (
	ClientIP = "10.77.0.1"
	ServerIP = "10.77.0.2"
)

// Side is one of the two machines.
type Side int

// The two sides. Each has its own namespace with a TUN device and loopback.
const (
	Client Side = iota // has ClientIP
	Server             // has ServerIP
)

// String is "client" or "server".
func (s Side) String() string {
	if s == Client {
		return "client"
	}
	return "server"
}

// A Lab is two network namespaces and the link between them. Its methods are
// safe for concurrent use.
type Lab struct {
	// Assigned in New, never reassigned.
	sides [2]*namespace // by Side
	links [2]*link      // by Direction
	trace *trace

	relaying sync.WaitGroup

	// judging is held while a filter runs and until its verdict is carried out:
	// who replaced the filters knows that the old ones are done. A link's mutex
	// may be taken under it.
	judging sync.Mutex
	filters []func(Packet) Verdict

	// watching is taken under a link's mutex.
	watching sync.Mutex
	watchers []watcher
}

// An Option sets up a [Lab].
type Option func(*settings)

type settings struct {
	delay time.Duration
	mtu   int
}

// WithDelay is the one-way delay of both directions to begin with. The default
// is 0: a packet takes what the relay needs, some 10 to 100 µs.
func WithDelay(oneWay time.Duration) Option { return func(s *settings) { s.delay = oneWay } }

// WithMTU is the size of the largest packet, in bytes, on both sides. The
// default is Ethernet's 1500.
func WithMTU(bytes int) Option { return func(s *settings) { s.mtu = bytes } }

// New makes a lab, which ends with the test: connections and listeners of it
// that are still open then have lost their network. If the test has failed by
// then, the link's last packets are logged, see [Lab.Dump].
//
// It skips the test, with the reason, where it may not or cannot make one.
func New(t testing.TB, options ...Option) *Lab {
	t.Helper()
	s := settings{mtu: 1500}
	for _, option := range options {
		option(&s)
	}
	l, err := build(s)
	if missing(err) {
		t.Skipf("no network lab here, it takes root on Linux and /dev/net/tun: %v", err)
	}
	if err != nil {
		t.Fatalf("network lab: %v", err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			l.Dump(t)
		}
		l.close()
	})
	return l
}

// missing reports whether err says that this machine has no labs, for lack of
// rights or of something in its kernel, rather than that making one went wrong.
func missing(err error) bool {
	for _, lack := range []error{
		unix.EPERM, unix.EACCES, // not root, or a sandbox
		unix.ENOENT, unix.ENODEV, unix.ENXIO, // no /dev/net/tun, or nothing behind it
		errNoNamespaces,
		unix.ENOSPC, // user.max_net_namespaces
	} {
		if errors.Is(err, lack) {
			return true
		}
	}
	return false
}

func build(s settings) (*Lab, error) {
	l := &Lab{trace: newTrace()}
	addresses := [2]netip.Addr{netip.MustParseAddr(ClientIP), netip.MustParseAddr(ServerIP)}
	var tuns [2]*os.File
	var alarms [2]*alarm
	fail := func(err error) (*Lab, error) {
		for side := range 2 {
			if tuns[side] != nil {
				tuns[side].Close()
			}
			if alarms[side] != nil {
				alarms[side].close()
			}
			if l.sides[side] != nil {
				l.sides[side].close()
			}
		}
		return nil, err
	}
	for side := range 2 {
		var err error
		if l.sides[side], err = newNamespace(); err != nil {
			return fail(err)
		}
		if alarms[side], err = newAlarm(); err != nil {
			return fail(err)
		}
		leave, err := l.sides[side].enter()
		if err != nil {
			return fail(err)
		}
		tuns[side], err = openTUN(addresses[side], addresses[1-side], s.mtu)
		leave()
		if err != nil {
			return fail(err)
		}
	}
	l.links[ToServer] = newLink(l, ToServer, tuns[Client], tuns[Server], alarms[0], s.delay)
	l.links[ToClient] = newLink(l, ToClient, tuns[Server], tuns[Client], alarms[1], s.delay)
	for _, k := range l.links {
		l.relaying.Go(k.read)
		l.relaying.Go(k.deliver)
	}
	return l, nil
}

// close ends the relay. A TUN device goes with its last descriptor, a namespace
// with its last socket, process and descriptor.
func (l *Lab) close() {
	for _, k := range l.links {
		k.alarm.close()
		k.from.Close()
	}
	l.relaying.Wait()
	for _, ns := range l.sides {
		ns.close()
	}
}

// Run runs f inside the namespace of a side, in the calling goroutine. Sockets
// that f opens and processes that it starts are of that side for good, wherever
// they are used later; goroutines that f starts are not. It is for what
// [Lab.Dialer] and [Lab.Listen] do not do: starting a server's process, a
// net.Dialer with settings of its own (with "tcp4": with "tcp" it may dial in
// further goroutines), a packet socket.
//
// It panics if the lab has ended.
func (l *Lab) Run(side Side, f func()) {
	leave, err := l.sides[side].enter()
	if err != nil {
		panic(fmt.Sprintf("netlab: %v side: %v", side, err))
	}
	defer leave()
	f()
}

// Sysctl sets a kernel parameter of a side, by its path under /proc/sys:
// "net/ipv4/tcp_syn_retries". Those under net are of a namespace and leave
// other labs and the machine as they are; any other is refused. It fails where
// /proc/sys may not be written to, as in many containers.
func (l *Lab) Sysctl(side Side, path, value string) (err error) {
	if path = filepath.Clean(path); !filepath.IsLocal(path) || !strings.HasPrefix(path, "net/") {
		return fmt.Errorf("netlab: %q is not a parameter of a network namespace", path)
	}
	// The kernel looks a name under net up in the namespace of the thread that
	// opens it, /proc/self or not.
	l.Run(side, func() {
		var file *os.File
		if file, err = os.OpenFile(filepath.Join("/proc/sys", path), os.O_WRONLY, 0); err != nil {
			return
		}
		_, err = file.WriteString(value)
		err = errors.Join(err, file.Close())
	})
	return err
}
