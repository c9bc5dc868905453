package faultserver_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise/faultserver"
)

// net/http's server looks for the token in the list on both protocols.
func TestAnHTTP2ClientThatExpectsOtherThingsTooIsToldToContinue(t *testing.T) {
	s := faultserver.Start(t, faultserver.Config{TLS: true, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
	})})
	client := s.Client()
	client.Transport.(*http.Transport).ExpectContinueTimeout = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, "POST", s.URL, strings.NewReader("body"))
	require.NoError(t, err)
	req.Header["Expect"] = []string{"foo, 100-continue"}
	resp, err := client.Do(req)
	require.NoError(t, err)
	resp.Body.Close()
	require.Equal(t, 2, resp.ProtoMajor)
}
