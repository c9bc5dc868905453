package simulation

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestAnEarTellsAnswersFromForgedResponses(t *testing.T) {
	const answer = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-Id: 1\r\n\r\nright"
	const interim = "HTTP/1.1 103 Early Hints\r\nX-Padding: 1\r\n\r\n"
	forged := "HTTP/1.1 200 OK\r\nX-Forged: yes\r\nContent-Length: 6\r\n\r\nforged"
	for name, c := range map[string]struct {
		reads []string
		want  []heard
	}{
		"an answer":                            {[]string{interim + answer}, []heard{{answers: 1}}},
		"in two reads":                         {[]string{answer[:12], answer[12:]}, []heard{{}, {answers: 1}}},
		"a forged one alone":                   {[]string{answer, forged}, []heard{{answers: 1}, {forged: true}}},
		"a forged one behind it":               {[]string{answer + forged}, []heard{{answers: 1, before: 1, forged: true, along: true}}},
		"an answer behind a forged":            {[]string{forged + answer}, []heard{{answers: 1, forged: true}}},
		"a forged one, cut in its status line": {[]string{answer + forged[:20], forged[20:]}, []heard{{answers: 1}, {forged: true}}},
	} {
		var e ear
		for i, read := range c.reads {
			require.Equal(t, c.want[i], e.hear([]byte(read)), name)
		}
	}
}
