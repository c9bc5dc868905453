// Package netlab is a network of two machines inside a test: two network
// namespaces, a client's and a server's, and between them a link that does what
// the test says. It proves what a kernel does and what it tells of a connection,
// which loopback cannot show, since there nothing is ever under way or lost.
//
//	lab := netlab.New(t, netlab.WithDelay(20*time.Millisecond))
//	listener, err := lab.Listen(netlab.ServerIP + ":0")
//	...
//	transport := &http.Transport{DialContext: lab.Dialer()}
//
// The link is a TUN device on either side and a relay in the test's own process
// that carries packets between them: after a delay, in order, and past the
// test's filter, which can drop or hold any one. [Lab.Cut] loses everything,
// as a pulled cable does.
//
// It needs Linux and root, or CAP_NET_ADMIN and CAP_SYS_ADMIN, and /dev/net/tun;
// without them [New] skips the test and says what is missing. On other systems
// the package is empty: tests that use it are in files named *_linux_test.go.
package netlab
