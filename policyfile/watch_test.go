package policyfile

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// A watched is a real file that Watch looks at in virtual time. Nothing waits for
// the file system but the goroutine that asks it, so that the order of things is
// that of their times.
type watched struct {
	*testing.T
	dir, path string
	sets      []int // the max_conns of the default, as they were set
	refuse    error // what set returns
	logs      bytes.Buffer
	cancel    context.CancelFunc
}

// watching runs f in a bubble, with Watch looking at a file that says max_conns: 1.
func watching(t *testing.T, f func(w *watched)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		w := &watched{T: t, dir: dir, path: filepath.Join(dir, "policies.yaml"), cancel: cancel}
		defer cancel()
		w.write("default: {max_conns: 1}\n")
		w.watch(ctx)
		require.Equal(t, []int{1}, w.sets, "loaded at once")
		f(w)
	})
}

func (w *watched) watch(ctx context.Context) {
	err := Watch(ctx, w.path, w.set, WithLogger(slog.New(slog.NewTextHandler(&w.logs, nil))))
	require.NoError(w, err)
}

func (w *watched) set(p idlewise.Policies) error {
	if w.refuse != nil {
		return w.refuse
	}
	w.sets = append(w.sets, p.Default.MaxConns)
	return nil
}

func (w *watched) write(text string) {
	w.Helper()
	require.NoError(w, os.WriteFile(w.path, []byte(text), 0o600))
}

// pass lets time pass: changes are looked for at full seconds, and taken over a
// tenth of a second later.
func (w *watched) pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// said returns how many lines of the log contain the text.
func (w *watched) said(text string) int {
	n := 0
	for line := range strings.Lines(w.logs.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

func TestAChangeIsTakenOver(t *testing.T) {
	watching(t, func(w *watched) {
		w.pass(10 * time.Second)
		require.Equal(t, []int{1}, w.sets, "nothing changed")
		w.write("default: {max_conns: 2}\n")
		w.pass(1200 * time.Millisecond)
		require.Equal(t, []int{1, 2}, w.sets)
		w.write("default: {max_conns: 3}\n") // of the same size
		w.pass(1200 * time.Millisecond)
		require.Equal(t, []int{1, 2, 3}, w.sets)
		require.Equal(t, 2, w.said("policies taken over"))
		w.write("default: {max_conns: 3}\n")
		w.pass(10 * time.Second)
		require.Equal(t, []int{1, 2, 3}, w.sets, "written, and no different")
		require.Zero(t, w.said("level=ERROR"))
	})
}

func TestWhatTheFileSaysIsInForceInTheTransport(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		transport, err := idlewise.New(idlewise.Config{})
		require.NoError(t, err)
		defer transport.Close()
		w := &watched{T: t, path: filepath.Join(dir, "policies.yaml")}
		inForce := func() (idlewise.Policy, string) {
			now := transport.Explain("https://api.example.com")
			return now.Policy, now.Pattern
		}
		w.write("default: {max_conns: 7}\nupstreams: {api.example.com: {extends: uvicorn}}\n")
		require.NoError(t, Watch(ctx, w.path, transport.SetPolicies, WithLogger(slog.New(slog.DiscardHandler))))
		policy, pattern := inForce()
		require.Equal(t, "api.example.com", pattern)
		require.Equal(t, 5*time.Second, policy.ServerKeepAlive)
		require.Equal(t, 7, policy.MaxConns)

		w.write("upstreams: {'*.example.com': {extends: nginx}}\n")
		w.pass(1200 * time.Millisecond)
		policy, pattern = inForce()
		require.Equal(t, "*.example.com", pattern)
		require.Equal(t, 75*time.Second, policy.ServerKeepAlive)
		require.Negative(t, policy.MaxConns)
	})
}

func TestARejectedFileLeavesTheLastGoodOneInForceAndIsLoggedOnce(t *testing.T) {
	watching(t, func(w *watched) {
		w.write("default: {max_conns: 0}\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1}, w.sets)
		require.Equal(t, 1, w.said("policies.yaml:1:22: default.max_conns: 0 is less than 1"))
		require.Equal(t, 1, w.said("level=ERROR"))

		w.write("default: {max_conns: 1}\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1}, w.sets, "it is in force still")
		require.Equal(t, 1, w.said("in force again"))

		w.write("default: {max_conns: 0}\n")
		w.pass(time.Minute)
		require.Equal(t, 2, w.said("level=ERROR"), "it is wrong again")
		w.write("default: {max_conns: 4}\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1, 4}, w.sets)
	})
}

func TestWhatSetRefusesIsLoggedWithItsPlaceInTheFile(t *testing.T) {
	watching(t, func(w *watched) {
		transport, err := idlewise.New(idlewise.Config{Base: baseWithLimit(5)})
		require.NoError(t, err)
		defer transport.Close()
		w.refuse = transport.SetPolicies(idlewise.Policies{Default: idlewise.Policy{MaxConns: 7}})
		require.Error(t, w.refuse)
		w.write("default:\n  max_conns: 7\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1}, w.sets)
		require.Equal(t, 1, w.said("policies.yaml:2:14: default.max_conns: 7 differs from the Base's MaxConnsPerHost, 5"))

		w.refuse = errors.New("not now")
		w.write("default:\n  max_conns: 8\n")
		w.pass(time.Minute)
		require.Equal(t, 1, w.said("policies.yaml: not now"))

		w.refuse = nil
		w.write("default:\n  max_conns: 9\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1, 9}, w.sets)
	})
}

func TestAFileThatIsGoneForAWhileChangesNothing(t *testing.T) {
	watching(t, func(w *watched) {
		require.NoError(t, os.Remove(w.path))
		w.pass(time.Minute)
		require.Equal(t, []int{1}, w.sets)
		require.Equal(t, 1, w.said("level=ERROR"), "said once")
		require.Equal(t, 1, w.said(noSuchFile()))
		w.write("default: {max_conns: 2}\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1, 2}, w.sets)
		require.Equal(t, 1, w.said("level=ERROR"))
	})
}

func TestAMomentWithoutTheFileIsNotWorthAWord(t *testing.T) {
	watching(t, func(w *watched) {
		w.pass(990 * time.Millisecond)
		require.NoError(t, os.Remove(w.path)) // looked for at 1.0 s
		w.pass(60 * time.Millisecond)
		w.write("default: {max_conns: 2}\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1, 2}, w.sets)
		require.Zero(t, w.said("level=ERROR"), w.logs.String())
	})
}

func TestAHalfWrittenFileIsReadAgain(t *testing.T) {
	watching(t, func(w *watched) {
		w.pass(990 * time.Millisecond)
		w.write("") // caught at 1.0 s, truncated
		w.pass(60 * time.Millisecond)
		w.write("default: {max_conns: 2") // at 1.1 s, no YAML
		w.pass(100 * time.Millisecond)
		w.write("default: {max_conns: 2}\nupstreams:\n  api.example.com: {max_co") // at 1.2 s
		w.pass(100 * time.Millisecond)
		w.write("default: {max_conns: 2}\nupstreams:\n  api.example.com: {max_conns: 5}\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1, 2}, w.sets)
		require.Zero(t, w.said("level=ERROR"), w.logs.String())
		require.Equal(t, 1, w.said("policies taken over"))
	})
}

func TestAnEditorReplacesTheFileByARename(t *testing.T) {
	watching(t, func(w *watched) {
		for n, text := range []string{"2", "3"} {
			next := filepath.Join(w.dir, "policies.yaml.new")
			require.NoError(t, os.WriteFile(next, []byte("default: {max_conns: "+text+"}\n"), 0o600))
			require.NoError(t, os.Rename(w.path, w.path+"~"))
			require.NoError(t, os.Rename(next, w.path))
			w.pass(1200 * time.Millisecond)
			require.Len(t, w.sets, n+2)
		}
		require.Equal(t, []int{1, 2, 3}, w.sets)
		require.Zero(t, w.said("level=ERROR"))
	})
}

// A ConfigMap's file is a symlink to one in ..data, itself a symlink to a
// directory, which is replaced as a whole.
func TestAConfigMapIsSwappedBySymlinks(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("creating symlinks needs a privilege there")
	}
	dir := t.TempDir()
	publish := func(t *testing.T, version, text string) {
		t.Helper()
		require.NoError(t, os.Mkdir(filepath.Join(dir, version), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, version, "policies.yaml"), []byte(text), 0o600))
		require.NoError(t, os.Symlink(version, filepath.Join(dir, "..data_tmp")))
		require.NoError(t, os.Rename(filepath.Join(dir, "..data_tmp"), filepath.Join(dir, "..data")))
	}
	publish(t, "..v1", "default: {max_conns: 1}\n")
	require.NoError(t, os.Symlink(filepath.Join("..data", "policies.yaml"), filepath.Join(dir, "policies.yaml")))
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := &watched{T: t, path: filepath.Join(dir, "policies.yaml")}
		w.watch(ctx)
		publish(t, "..v2", "default: {max_conns: 2}\n")
		require.NoError(t, os.RemoveAll(filepath.Join(dir, "..v1")))
		w.pass(1200 * time.Millisecond)
		require.Equal(t, []int{1, 2}, w.sets)
		require.Zero(t, w.said("level=ERROR"))
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	watching(t, func(w *watched) {
		w.cancel()
		synctest.Wait()
		w.write("default: {max_conns: 2}\n")
		w.pass(time.Minute)
		require.Equal(t, []int{1}, w.sets)
		require.Empty(t, w.logs.String())
	}) // and the bubble would not end with a goroutine in it

	watching(t, func(w *watched) {
		w.pass(990 * time.Millisecond)
		w.write("default: {max_conns: 2}\n")
		w.pass(60 * time.Millisecond) // while it waits for the file to hold still
		w.cancel()
		w.pass(time.Minute)
		require.Equal(t, []int{1}, w.sets)
	})
}

func TestTheFirstLoadsErrorIsReturnedAndNothingIsWatched(t *testing.T) {
	path := filepath.Join(t.TempDir(), "policies.yaml")
	none := func(idlewise.Policies) error { t.Error("set was called"); return nil }
	require.ErrorIs(t, Watch(t.Context(), path, none), os.ErrNotExist)
	require.NoError(t, os.WriteFile(path, []byte("default: {max_conns: 0}\n"), 0o600))
	var wrong *Error
	require.ErrorAs(t, Watch(t.Context(), path, none), &wrong)

	require.NoError(t, os.WriteFile(path, []byte("default: {max_conns: 7}\n"), 0o600))
	transport, err := idlewise.New(idlewise.Config{Base: baseWithLimit(5)})
	require.NoError(t, err)
	defer transport.Close()
	err = Watch(t.Context(), path, transport.SetPolicies)
	require.ErrorAs(t, err, &wrong)
	require.ErrorContains(t, err, path+":1:22: default.max_conns: 7 differs from the Base's MaxConnsPerHost, 5")

	require.ErrorContains(t, Watch(t.Context(), path, nil), "set is nil")
	require.ErrorContains(t, Watch(t.Context(), path, none, WithInterval(0)), "WithInterval: 0s is not positive")
	require.ErrorContains(t, Watch(t.Context(), path, none, WithLogger(nil)), "WithLogger: nil")
}

func TestTheIntervalIsTheCallers(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w := &watched{T: t, path: filepath.Join(dir, "policies.yaml")}
		w.write("default: {max_conns: 1}\n")
		require.NoError(t, Watch(ctx, w.path, w.set, WithInterval(10*time.Millisecond), WithLogger(slog.New(slog.DiscardHandler))))
		w.write("default: {max_conns: 2}\n")
		w.pass(21 * time.Millisecond)
		require.Equal(t, []int{1, 2}, w.sets)
	})
}
