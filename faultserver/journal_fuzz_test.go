package faultserver

import (
	"bytes"
	"strings"
	"testing"
)

// FuzzJournal: no file makes the reader panic, and what it reads it writes and
// reads again as the same.
func FuzzJournal(f *testing.F) {
	f.Add(`{"type":"connection","id":1,"opened":"2000-01-01T00:00:00.01Z","closed":"2000-01-01T00:00:03Z","closed_by":"server-fin",` +
		`"reason":"fault","fault":"idle-close","requests":1,"idle_age_ns":2}` + "\n" +
		`{"type":"request","id":1,"key":"k","connection":1,"time":"2000-01-01T00:00:00.03+02:00","phase":"answered","faults":["delay"]}`)
	f.Add(`{"type":"panic","message":"m"}` + "\n\n{")
	f.Fuzz(func(t *testing.T, text string) {
		j, err := ReadJSONL(strings.NewReader(text))
		if err != nil {
			if !strings.HasPrefix(err.Error(), "faultserver: journal, line ") {
				t.Fatal(err)
			}
			return
		}
		j.Summary()
		j.Totals()
		j.ExecutedTwice()
		var once, again bytes.Buffer
		if err := j.WriteJSONL(&once); err != nil {
			if !strings.Contains(err.Error(), "year outside of range") { // which only JSON's own times may be
				t.Fatal(err)
			}
			return
		}
		back, err := ReadJSONL(bytes.NewReader(once.Bytes()))
		if err != nil {
			t.Fatalf("%v\n%s", err, &once)
		}
		if err := back.WriteJSONL(&again); err != nil || once.String() != again.String() {
			t.Fatalf("%v\n%s\n%s", err, &once, &again)
		}
	})
}
