package main

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A firstLine hands over the first thing that is written to it.
type firstLine chan string

func (l firstLine) Write(b []byte) (int, error) {
	select {
	case l <- string(b):
	default:
	}
	return len(b), nil
}

func TestEverySceneHasItsPageAndEnds(t *testing.T) {
	for name := range scenes {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			said, ended := make(firstLine, 1), make(chan error, 1)
			go func() { ended <- run(ctx, name, "127.0.0.1:0", said) }()
			select {
			case line := <-said:
				page := get(t, strings.TrimSpace(strings.TrimPrefix(line, "open ")))
				if !strings.Contains(page, "example: "+name) {
					t.Errorf("not the page: %s", page)
				}
			case err := <-ended:
				t.Fatal(err)
			}
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		})
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestAnUnknownSceneIsRefused(t *testing.T) {
	if err := run(t.Context(), "drizzle", "127.0.0.1:0", io.Discard); err == nil || !strings.Contains(err.Error(), "storm, quiet and thousand") {
		t.Errorf("got %v", err)
	}
}
