package policyfile

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/stretchr/testify/require"

	"github.com/idlewise/idlewise"
)

// leaves returns the fields of a policy that can be set, by their names in Go.
func leaves(v reflect.Value, name string) map[string]reflect.Value {
	if v.Kind() == reflect.Pointer && v.Type().Elem().Kind() == reflect.Struct {
		if v.IsNil() {
			v = reflect.New(v.Type().Elem())
		}
		v = v.Elem()
	}
	if v.Kind() != reflect.Struct {
		return map[string]reflect.Value{name: v}
	}
	all := make(map[string]reflect.Value)
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() {
			continue
		}
		for inner, value := range leaves(v.Field(i), strings.TrimPrefix(name+"."+f.Name, ".")) {
			all[inner] = value
		}
	}
	return all
}

// notInFiles are the fields that a file cannot set.
var notInFiles = []string{
	"TCPKeepAlive.Enable",            // true where any other part is set
	"Breaker.Settings.Name",          // see finish
	"Breaker.Settings.OnStateChange", // functions of the program
	"Breaker.Settings.IsSuccessful",
	"Breaker.Settings.IsExcluded",
}

func TestEveryFieldOfAPolicyHasAKey(t *testing.T) {
	known := slices.Clone(notInFiles)
	for _, f := range fields {
		known = append(known, f.name)
	}
	inGo := leaves(reflect.ValueOf(idlewise.Policy{}), "")
	for name := range inGo {
		require.Contains(t, known, name, "add the field to fields, and to docs/policies.md")
	}
	for _, name := range known {
		if name != "Breaker" { // that is NoBreaker
			require.Contains(t, inGo, name)
		}
	}
}

// snakeCase is how a field of Go is called in files.
func snakeCase(name string) string {
	var b strings.Builder
	runes := []rune(name)
	for i, r := range runes {
		if unicode.IsUpper(r) {
			if i > 0 && runes[i-1] != '.' && (unicode.IsLower(runes[i-1]) || i+1 < len(runes) && unicode.IsLower(runes[i+1])) {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

func TestKeysAreTheNamesOfFieldsInSnakeCase(t *testing.T) {
	for _, f := range fields {
		want := snakeCase(strings.ReplaceAll(f.name, "Breaker.Settings.", "Breaker."))
		if want == "breaker.ready_to_trip" {
			continue // which has three keys
		}
		require.Equal(t, strings.ReplaceAll(want, "check_retry", "check"), f.key)
	}
}

// samples are values, good and none of them the default, for the fields that take
// no duration, number or toggle.
var samples = map[string]string{
	"retry.check": "[503]", "retry.backoff": "linear-jitter", "retry.max_replay_body": "64KiB", "retry.attempt_header": "X-Attempt",
	"breaker": "off", "breaker.failure_ratio": "0.5", "breaker.statuses": "[500]",
	"group": "g", "probe.method": "GET", "probe.path": "/health",
}

// sampleOf returns a text for a field, whatever it takes.
func sampleOf(t *testing.T, f *field) string {
	if s, ok := samples[f.key]; ok {
		return s
	}
	kind := leaves(reflect.ValueOf(idlewise.Policy{}), "")[f.name]
	switch kind.Interface().(type) {
	case time.Duration:
		return "3s"
	case idlewise.Toggle:
		return "off"
	case int, uint32, float64, nil:
		return "3"
	}
	if kind.Kind() == reflect.Func {
		return "3"
	}
	t.Fatalf("no sample for %s", f.key)
	return ""
}

// apply reads a setting by itself.
func apply(t *testing.T, f *field, value string) (idlewise.Policy, error) {
	t.Helper()
	text := f.key + ": " + value
	if group, key, ok := strings.Cut(f.key, "."); ok {
		text = fmt.Sprintf("%s: {%s: %s}", group, key, value)
	}
	var r reader
	doc := r.document([]byte(text))
	require.NotNil(t, doc, text)
	b := r.block(doc, "p", pos{1, 1})
	var d draft
	for i := range fields {
		if s := b.own[fields[i].key]; s.apply != nil {
			s.apply(&d)
		}
	}
	return d.finish(), r.err("f")
}

func TestEverySettingSetsItsFieldAndNoOther(t *testing.T) {
	for i := range fields {
		f := &fields[i]
		p, err := apply(t, f, sampleOf(t, f))
		require.NoError(t, err, f.key)
		if f.key == breakerOff {
			require.Same(t, idlewise.NoBreaker, p.Breaker)
			continue
		}
		var set []string
		for name, value := range leaves(reflect.ValueOf(p), "") {
			if !value.IsZero() {
				set = append(set, name)
			}
		}
		// What comes with it is of the same value.
		set = slices.DeleteFunc(set, func(name string) bool { return name != f.name && slices.Contains(notInFiles, name) })
		require.Equal(t, []string{f.name}, set, f.key)
	}
}

func TestOffIsNegativeWhereIdlewiseTakesThatForOff(t *testing.T) {
	for i := range fields {
		f := &fields[i]
		p, err := apply(t, f, "off")
		if f.key == breakerOff {
			continue
		}
		value := leaves(reflect.ValueOf(p), "")[f.name]
		if err != nil {
			require.True(t, value.IsZero(), f.key)
			continue
		}
		switch v := value.Interface().(type) {
		case time.Duration:
			require.Negative(t, v, f.key)
		case int:
			require.Negative(t, v, f.key)
		case int64:
			require.Negative(t, v, f.key)
		case float64:
			require.Negative(t, v, f.key)
		case idlewise.Toggle:
			require.Equal(t, idlewise.Off, v, f.key)
		case string:
			require.Equal(t, "-", v, f.key)
		default:
			t.Errorf("%s takes off for %v", f.key, v)
		}
		require.NoError(t, idlewise.Policies{Default: p}.Validate(), f.key)
	}
}
