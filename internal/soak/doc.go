// Command soak lets hundreds of callers send requests through idlewise for
// minutes, over real sockets, to servers that misbehave all the time, and looks
// whether memory, goroutines, file descriptors and connections stay flat and
// whether any POST was executed twice.
//
//	go run ./internal/soak                     # ten minutes, 500 callers
//	go run ./internal/soak -for 1m -callers 100
//
// The servers run in a process of their own, so that what is measured here is the
// client's. The last line is the verdict; the exit status is 1 if it is bad.
package main
