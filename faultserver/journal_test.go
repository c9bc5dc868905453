package faultserver_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

func TestTheKeyIsTheHeadersElseMadeOfTheRequest(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	c := dialRaw(t, s)
	for _, request := range []string{
		post("/a", "x", "Idempotency-Key: one", "X-Fault-Key: two"),
		post("/a", "x", "X-Fault-Key: two"),
		post("/a", "x"),
		post("/a", "x"),
		post("/a", "y"),
		post("/a?q", "x"),
	} {
		c.send(request)
		c.response("POST")
	}
	rows := s.Journal().Requests()
	require.Equal(t, "one", rows[0].Key)
	require.Equal(t, "two", rows[1].Key)
	require.False(t, rows[1].KeyDerived)
	require.True(t, rows[2].KeyDerived)
	require.Equal(t, rows[2].Key, rows[3].Key)
	require.NotEqual(t, rows[2].Key, rows[4].Key)
	require.NotEqual(t, rows[2].Key, rows[5].Key)
	require.Equal(t, map[string]int{"one": 1, "two": 1, rows[2].Key: 2, rows[4].Key: 1, rows[5].Key: 1}, s.Journal().Executions())
	require.Len(t, s.Journal().Warnings(), 1)
	require.Contains(t, s.Journal().Warnings()[0], "4 of 6 requests")
}

func TestADoubleExecutionIsFoundAndShown(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.FinAfterRequest, Executed: true, Times: 1})
	c := dialRaw(t, s)
	c.send(post("/charge", "5 EUR", "Idempotency-Key: k1"))
	c.wantFIN()
	again := dialRaw(t, s) // as a careless client does
	again.send(post("/charge", "5 EUR", "Idempotency-Key: k1"))
	again.response("POST")

	j := s.Journal()
	require.Equal(t, []string{"k1"}, j.ExecutedTwice())
	require.Equal(t, []string{"k1"}, j.ExecutedTwice("POST", "PATCH"))
	require.Empty(t, j.ExecutedTwice("GET"))
	var f fails
	j.AssertNoneExecutedTwice(&f)
	require.Len(t, f.messages, 1)
	require.Contains(t, f.messages[0], `key "k1"`)
	require.Contains(t, f.messages[0], "fin-after-request")
	f = fails{}
	j.AssertNoneExecutedTwice(&f, "GET")
	require.Empty(t, f.messages)
}

func TestAnUnexecutedAttemptDoesNotCount(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.FinAfterRequest, Times: 1})
	c := dialRaw(t, s)
	c.send(post("/", "", "Idempotency-Key: k1"))
	c.wantFIN()
	require.Equal(t, map[string]int{"k1": 0}, s.Journal().Executions())
	again := dialRaw(t, s)
	again.send(post("/", "", "Idempotency-Key: k1"))
	again.response("POST")
	require.Equal(t, map[string]int{"k1": 1}, s.Journal().Executions())
	s.Journal().AssertNoneExecutedTwice(t)
}

func TestSummaryCountsConnectionsRequestsAndFaults(t *testing.T) {
	s := with(t, faultserver.Fault{Kind: faultserver.SilentClose, Nth: 2})
	c := dialRaw(t, s)
	c.get("/1")
	c.get("/2")
	c.wantFIN()
	dialRaw(t, s).get("/3")
	require.Equal(t, strings.Join([]string{
		"2 connections: 1 open, 1 server-fin (fault silent-close)",
		"3 requests, 3 executions, 0 keys executed more than once: 3 answered",
		"faults: 1 silent-close",
		"",
	}, "\n"), s.Journal().Summary())
}

func TestResetForgetsAllButOpenConnections(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{})
	gone, open := dialRaw(t, s), dialRaw(t, s)
	open.get("/")
	gone.send("GET / HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n")
	gone.response("GET")
	gone.wantFIN()
	s.Journal().Reset()
	require.Empty(t, s.Journal().Requests())
	require.Len(t, s.Journal().Conns(), 1)
	open.get("/")
	require.Len(t, s.Journal().Requests(), 1)
	require.Equal(t, 2, onlyRequest(t, s).NthOnConn)
}
