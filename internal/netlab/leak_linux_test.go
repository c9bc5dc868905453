package netlab

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// descriptors lists what this process has open.
func descriptors(t testing.TB) map[string]string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	open := map[string]string{}
	for _, entry := range entries {
		to, err := os.Readlink(filepath.Join("/proc/self/fd", entry.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // the directory's own
		}
		require.NoError(t, err)
		open[entry.Name()] = to
	}
	return open
}

// namespaces counts the threads of this process in each namespace.
func namespaces(t testing.TB) map[string]int {
	t.Helper()
	links, err := filepath.Glob("/proc/self/task/*/ns/net")
	require.NoError(t, err)
	threads := map[string]int{}
	for _, link := range links {
		to, err := os.Readlink(link)
		if err != nil {
			continue // a thread that has just ended
		}
		threads[to]++
	}
	return threads
}

func use(t *testing.T) {
	lab := New(t)
	client, server := pair(t, lab)
	write(t, client, "x")
	read(t, server, 1)
	lab.Filter(HoldAll(ToClient))
	write(t, server, "never arrives")
	await(t, func() bool { return lab.Counters(ToClient).Held > 0 })
	lab.Run(Server, func() {})
}

func TestALabLeavesNothingBehind(t *testing.T) {
	t.Run("what the runtime opens once", use)
	open, threads := descriptors(t), namespaces(t)
	require.Len(t, threads, 1)
	const labs = 10
	for range labs {
		t.Run("a lab", use)
	}
	require.Equal(t, open, descriptors(t))
	after := namespaces(t)
	require.Len(t, after, 1, "a thread is still in a lab's namespace")
	for home, n := range threads {
		// The runtime keeps threads that it had to start for a system call
		// that blocked, so an equal number cannot be asked for.
		require.Less(t, after[home], n+labs)
	}
}

func TestAPendingDialKeepsNoThreadInTheNamespace(t *testing.T) {
	lab := New(t)
	lab.Filter(HoldAll(ToServer))
	ctx := within(t)
	failed := make(chan error, 1)
	open := len(descriptors(t))
	go func() {
		_, err := lab.Dialer()(ctx, "tcp", ServerIP+":80")
		failed <- err
	}()
	await(t, func() bool { return lab.Counters(ToServer).Held > 0 })
	require.Len(t, namespaces(t), 1)
	require.Len(t, descriptors(t), open+1, "its socket")
	lab.Filter()
	lab.Release()
	require.ErrorContains(t, receive(t, failed), "connection refused")
}
