package idlewise

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHintsAreReadAndJunkIsIgnored(t *testing.T) {
	for _, c := range []struct {
		header []string
		want   hint
	}{
		{[]string{"timeout=5"}, hint{timeout: 5 * time.Second}},
		{[]string{"timeout=5, max=100"}, hint{timeout: 5 * time.Second}},
		{[]string{"Timeout = 5 , MAX=0"}, hint{timeout: 5 * time.Second, last: true}},
		{[]string{"timeout=5", "max=0"}, hint{timeout: 5 * time.Second, last: true}},
		{[]string{"timeout=5, timeout=5"}, hint{timeout: 5 * time.Second}},
		{[]string{"timeout=3601"}, hint{timeout: time.Hour}},
		{[]string{"timeout=99999999999999999999999"}, hint{timeout: time.Hour}},
		// Junk.
		{[]string{""}, hint{}},
		{[]string{"timeout"}, hint{}},
		{[]string{"timeout="}, hint{}},
		{[]string{"timeout=0"}, hint{}},
		{[]string{"timeout=-1"}, hint{}},
		{[]string{"timeout=+5"}, hint{}},
		{[]string{"timeout=5s"}, hint{}},
		{[]string{"timeout=5.5"}, hint{}},
		{[]string{"timeout=0x5"}, hint{}},
		{[]string{`timeout="5"`}, hint{}},
		{[]string{"timeout=5, timeout=50"}, hint{}},
		{[]string{"timeout=5", "timeout=junk"}, hint{}},
		{[]string{"max=-1"}, hint{}},
		{[]string{"max=0, max=1"}, hint{}},
		{[]string{"timeout=5;max=0"}, hint{}},
		{[]string{"5"}, hint{}},
	} {
		require.Equal(t, c.want, parseHint(c.header), "%q", c.header)
	}
}

func FuzzHint(f *testing.F) {
	f.Add("timeout=5, max=100", "max=0")
	f.Add("timeout=-5", `timeout="5"`)
	f.Add("timeout=5", "Timeout = 5 ,TIMEOUT=6")
	f.Add("timeout=99999999999999999999", "timeout=3601")
	f.Add("timeout=0, max=00", "max, timeout=, =5,,")
	f.Fuzz(func(t *testing.T, a, b string) {
		h := parseHint([]string{a, b})
		if h.timeout < 0 || h.timeout > maxHint {
			t.Fatalf("timeout %v of %q, %q", h.timeout, a, b)
		}
		for _, same := range [][]string{{b, a}, {a + "," + b}} { // RFC 9110 section 5.3
			if parseHint(same) != h {
				t.Fatalf("%v of %q, %q, and %v of %q", h, a, b, parseHint(same), same)
			}
		}
	})
}
