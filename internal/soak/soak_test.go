package main

import (
	"bytes"
	"io"
	"log"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	log.SetOutput(io.Discard) // net/http's complaints about the servers
	if seed := os.Getenv(seedVariable); seed != "" {
		os.Exit(serveProcess(seed))
	}
	goleak.VerifyTestMain(m)
}

func TestAShortSoakIsFlatAndExecutesNoPOSTTwice(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 40 s")
	}
	o, err := parseOptions([]string{"-for", "36s", "-callers", "60"}, io.Discard)
	require.NoError(t, err)
	var out bytes.Buffer
	err = soak(t.Context(), o, &out)
	t.Logf("\n%s", &out)
	require.NoError(t, err)
	require.Contains(t, out.String(), "none of them twice")
}

func TestAPOSTThatIsExecutedTwiceIsFoundHoweverLongAgo(t *testing.T) {
	l := new(ledger)
	for n := range uint64(100_000) {
		l.executed(n)
	}
	require.Empty(t, l.account(nil).Twice)
	l.executed(17)
	require.Equal(t, []string{"POST 17 was executed twice"}, l.account(nil).Twice)
	require.Equal(t, 100_001, l.account(nil).Posts)
}

func TestWhatGrowsIsNotFlat(t *testing.T) {
	leak := func(each int) []sample {
		var all []sample
		for i := range 120 {
			all = append(all, sample{goroutines: 1000 + i*each + i%7, heap: int64(20<<20 + i*each*100_000)})
		}
		return all
	}
	for _, m := range measures[:2] { // heap, goroutines
		_, flat := m.flat(leak(0))
		require.True(t, flat, m.name)
		text, flat := m.flat(leak(5))
		require.False(t, flat, m.name)
		require.Contains(t, text, "GROWS")
	}
}

func TestWhatIsNotUnderstoodIsRefused(t *testing.T) {
	for args, want := range map[string][]string{
		"-callers: 0 are too few": {"-callers", "0"},
		"-for: 1s":                {"-for", "1s"},
		`"typhoon" is no flag`:    {"typhoon"},
	} {
		_, err := parseOptions(want, io.Discard)
		require.ErrorContains(t, err, args)
	}
	o, err := parseOptions(nil, io.Discard)
	require.NoError(t, err)
	require.Equal(t, options{length: 10 * time.Minute, callers: 500, every: 5 * time.Second, seed: 1}, o)
}
