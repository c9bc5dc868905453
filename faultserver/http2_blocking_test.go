package faultserver_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
	h2 "golang.org/x/net/http2"

	"github.com/idlewise/idlewise/faultserver"
)

// stuckHandler writes much on /download, and reads nothing of /upload.
func stuckHandler(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/download":
		w.Write(make([]byte, 10<<20))
	case "/upload":
		<-r.Context().Done()
	default:
		readAndAnswer(w, r)
	}
}

func TestAStreamWithoutAWindowHoldsUpNoOther(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Handler: http.HandlerFunc(stuckHandler)})
	c := dialSeeing(t, s)
	c.want("SETTINGS 0 [3=250 4=1048576]", "WINDOW_UPDATE 0 +4128769", "SETTINGS 0 ack")
	require.NoError(t, c.fr.WriteSettingsAck())
	require.NoError(t, c.fr.WriteWindowUpdate(0, 1<<20))
	c.post("/download", "")
	c.want(head)
	for got := 0; got < 65535; got += 16384 {
		c.see()
	}
	c.post("/", "small")
	c.want("HEADERS 3 :status=200", `DATA 3 "body" end`)
}

func TestAConnectionWithoutAWindowStillTakesRequestsAndSaysWhatNeedsNone(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Handler: http.HandlerFunc(stuckHandler)})
	c := dialSeeing(t, s).begin()
	c.post("/download", "")
	c.want(head)
	for got := 0; got < 65535; got += 16384 {
		c.see()
	}
	c.post("/", "small")
	c.want("HEADERS 3 :status=200") // its DATA waits
	c.wantServing()
	require.NoError(t, c.fr.WriteWindowUpdate(0, 4))
	require.NoError(t, c.fr.WriteRSTStream(1, h2.ErrCodeCancel))
	c.want(`DATA 3 "body" end`)
}

func TestAnUploadNobodyReadsHoldsUpNoOther(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{Protocols: protocols(h2c), Handler: http.HandlerFunc(stuckHandler)})
	c := dialSeeing(t, s).begin()
	for range 3 {
		c.writeBody(c.open("POST", "/upload", false), 1<<20)
	}
	id := c.open("POST", "/", false)
	c.writeBody(id, 1<<20)
	require.NoError(t, c.fr.WriteData(id, true, nil))
	for {
		if frame := c.see(); frame == `DATA 7 "body" end` {
			break
		}
	}
}
