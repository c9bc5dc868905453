package main

import (
	"bytes"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/require"
)

func TestTheStatusLineDoesNotWrap(t *testing.T) {
	line := strings.Repeat("requests ", 20)
	for width := 2; width < 200; width++ {
		got := clipped(line, width)
		require.LessOrEqual(t, utf8.RuneCountInString(got), width-1)
		require.Equal(t, len(line) >= width, got != line)
	}
	require.Equal(t, 80, widthOf(new(bytes.Buffer)), "where it is not known")
}
