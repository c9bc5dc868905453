package idlewise

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAResendIsLoggedAsInfoAndALostPOSTAsWarning(t *testing.T) {
	var log bytes.Buffer
	cfg := lossy
	cfg.client.Logger = slog.New(slog.NewTextHandler(&log, nil))
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/secret", "")
		w.mustDo("GET", "/secret", "")
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], `level=INFO msg="idlewise: connection failed, request sent again" upstream=http://10.0.0.1:80 method=GET conn=1 `)
		local := w.server.Journal().Conns()[0].RemoteAddr
		require.Contains(t, lines[0], " local="+local+" remote=10.0.0.1:80 ", "as in the server's log")
		require.Contains(t, lines[0], "evidence=unknown resent=true stale=true")

		log.Reset()
		_, err := w.do(context.Background(), "POST", "/secret", "secret")
		require.Error(t, err)
		synctest.Wait()
		lines = strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 1)
		require.Contains(t, lines[0], `level=WARN msg="idlewise: request lost" upstream=http://10.0.0.1:80 method=POST idempotent=false conn=2 `)
		require.Contains(t, lines[0], `evidence=unknown reason="not repeated (send an Idempotency-Key or use WithIdempotent)"`)
		require.NotContains(t, log.String(), "secret")
	})
}

func TestAtDebugLevelConnectionsAreLogged(t *testing.T) {
	var log bytes.Buffer
	cfg := lossy
	cfg.client.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	inWorld(t, cfg, func(t *testing.T, w *world) {
		w.mustDo("GET", "/", "")
		w.do(context.Background(), "POST", "/", "")
		synctest.Wait()
		text := log.String()
		for _, want := range []string{
			`level=DEBUG msg="idlewise: connection opened"`, `level=DEBUG msg="idlewise: connection failed under a request"`,
			`level=DEBUG msg="idlewise: connection closed"`, "reason=stale_on_use",
		} {
			require.Contains(t, text, want)
		}
	})
}

func TestLoggingIsRateLimitedAndSaysWhatItLeftOut(t *testing.T) {
	var log bytes.Buffer
	cfg := worldConfig{client: Config{Logger: slog.New(slog.NewTextHandler(&log, nil))}}
	inWorld(t, cfg, func(t *testing.T, w *world) {
		for i := range 100 {
			w.tr.note(RequestLost{EventInfo: w.tr.registryInfo(), Method: fmt.Sprint(i)})
		}
		synctest.Wait()
		require.Equal(t, logBurst, strings.Count(log.String(), "\n"))
		log.Reset()
		time.Sleep(time.Minute)
		w.tr.note(RequestLost{EventInfo: w.tr.registryInfo()})
		w.tr.note(RequestLost{EventInfo: w.tr.registryInfo()})
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		require.Len(t, lines, 2)
		require.Contains(t, lines[0], fmt.Sprintf("suppressed=%d", 100-logBurst))
		require.NotContains(t, lines[1], "suppressed")
		require.Zero(t, w.tr.Stats().EventsDropped)
	})
}

func (t *Transport) registryInfo() EventInfo { return EventInfo{time.Now(), "http://test:80"} }
