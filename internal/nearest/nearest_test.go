package nearest

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestASlipOfTheFingersIsForgivenAndNonsenseIsNot(t *testing.T) {
	known := []string{"max_conns", "max_idle_conns", "server_keep_alive", "hint"}
	for got, want := range map[string]string{
		"max_con": "max_conns", "MaxConns": "max_conns", "server-keepalive": "server_keep_alive", "hnit": "hint",
		"server": "server_keep_alive", "max": "", "color": "", "": "", strings.Repeat("max_conns", 100): "",
	} {
		require.Equal(t, want, Name(got, known), got)
	}
}
