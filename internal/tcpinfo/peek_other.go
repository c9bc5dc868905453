//go:build !unix

package tcpinfo

// PeekSocket cannot look here.
func PeekSocket(uintptr) (n int, pending error, ok bool) { return 0, nil, false }
