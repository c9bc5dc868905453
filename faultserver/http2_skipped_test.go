package faultserver_test

import (
	"testing"

	h2 "golang.org/x/net/http2"
)

func TestAStreamThatWasPassedOverIsAnErrorOfTheConnection(t *testing.T) {
	for _, test := range []struct{ first, second uint32 }{{5, 3}, {5, 1}, {3, 1}} {
		c := dialFrames(t, with2(t))
		c.next = test.first
		c.get("/")
		c.next = test.second
		c.open("GET", "/", true)
		c.wantGoAway(test.first, h2.ErrCodeProtocol)
		c.wantEnd()
	}
}

func TestAStreamThatHasEndedIsIgnored(t *testing.T) {
	c := dialFrames(t, with2(t))
	c.next = 5
	c.get("/")
	c.next = 5
	c.open("GET", "/", true)
	c.next = 7
	c.get("/")
	c.next = 3
	c.open("GET", "/", true)
	c.wantGoAway(7, h2.ErrCodeProtocol)
}

func TestOfAClientThatSkipsOnAndOnTheOldestIsForgotten(t *testing.T) {
	c := dialFrames(t, with2(t))
	for range 200 {
		c.next += 2
		c.get("/")
	}
	last := c.next - 2
	c.next = 1
	c.open("GET", "/", true)
	c.next = last + 2
	c.get("/")
	c.next = last - 2
	c.open("GET", "/", true)
	c.wantGoAway(last+2, h2.ErrCodeProtocol)
}
