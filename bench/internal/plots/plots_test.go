package plots

import (
	"encoding/xml"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// texts returns what an SVG says, and fails if it is none.
func texts(t *testing.T, file string) string {
	f, err := os.Open(file)
	require.NoError(t, err)
	defer f.Close()
	var b strings.Builder
	d := xml.NewDecoder(f)
	root, inText := "", false
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		switch e := token.(type) {
		case xml.StartElement:
			if root == "" {
				root = e.Name.Local
			}
			inText = e.Name.Local == "text"
		case xml.CharData:
			if inText {
				b.Write(e)
				b.WriteByte('\n')
			}
		case xml.EndElement:
			inText = false
		}
	}
	require.Equal(t, "svg", root)
	return b.String()
}

func TestAGridNamesItsSeriesPanelsAndCategories(t *testing.T) {
	file := filepath.Join(t.TempDir(), "grid.svg")
	g := &Grid{
		Title: "Costs", X: "callers", Y: "ratio", Ticks: []string{"one", "many"},
		Series: []string{"net/http", "other"}, Base: 1,
		Panels: [][]Panel{{
			{Title: "left", Points: [][]Point{{{1, 1, 1}, {1, 1, 1}}, {{0.5, 0.4, 0.7}, {3000, 2, 4000}}}},
			{Title: "right, without the other", Points: [][]Point{{{1, 1, 1}}, nil}},
			{Title: "empty"},
		}},
	}
	require.NoError(t, g.Write(file))
	said := texts(t, file)
	for _, want := range []string{"Costs", "callers", "ratio", "one", "many", "net/http", "other", "left", "right, without the other", "empty"} {
		require.Contains(t, said, want)
	}
}

func TestStripsShowWhatTheyAreOf(t *testing.T) {
	file := filepath.Join(t.TempDir(), "strips.svg")
	s := &Strips{
		Title: "Race", X: "gap", Parts: []string{"failed", "new"}, From: 0.75, To: 1.1, Marked: 1,
		Strips: []Strip{{Title: "first", Bars: [][]float64{{0, 0}, {0.5, 0.5}}}, {Title: "second"}},
	}
	require.NoError(t, s.Write(file))
	said := texts(t, file)
	for _, want := range []string{"Race", "gap", "failed", "new", "first", "second", "0.75", "1.10"} {
		require.Contains(t, said, want)
	}
	plain, err := os.ReadFile(file)
	require.NoError(t, err)
	require.Contains(t, string(plain), "#D55E00", "what failed is drawn")
}

func TestADirectoryThatIsMissingIsAnError(t *testing.T) {
	require.Error(t, (&Strips{From: 0, To: 1}).Write(filepath.Join(t.TempDir(), "no", "such.svg")))
}
