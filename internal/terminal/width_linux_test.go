package terminal

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestTheWidthIsTheWindows(t *testing.T) {
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no terminals here: %v", err)
	}
	defer pty.Close()
	require.Zero(t, Width(pty), "of a terminal that was never told")
	for _, columns := range []uint16{60, 200} {
		require.NoError(t, unix.IoctlSetWinsize(int(pty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: 24, Col: columns}))
		require.Equal(t, int(columns), Width(pty))
	}
}

func TestWhatIsNoTerminalHasNoWidth(t *testing.T) {
	f, err := os.Create(filepath.Join(t.TempDir(), "file"))
	require.NoError(t, err)
	defer f.Close()
	require.Zero(t, Width(f))
}
