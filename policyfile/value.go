package policyfile

import (
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/idlewise/idlewise"
)

// A readFunc returns what puts a value into a policy, or nil if the value is
// wrong and that is reported.
type readFunc func(r *reader, n *yaml.Node, path string) func(*draft)

// Whether a setting has an off value. Negative numbers are off in Go.
type switchable bool

const (
	orOff switchable = true
	noOff switchable = false
)

// word returns the text of a single value; want says what may be given.
func (r *reader) word(n *yaml.Node, path, want string) (string, bool) {
	at := posOf(n)
	n = target(n)
	tag := n.ShortTag()
	switch {
	case n.Kind != yaml.ScalarNode:
		r.add(at, path, "is %s; give %s", kindOf(n), want)
	case tag == "!!null":
		r.add(at, path, "has no value; give %s, or remove the key", want)
	case strings.HasPrefix(tag, "!") && !strings.HasPrefix(tag, "!!"):
		r.add(at, path, "has the tag %s, which means nothing here; remove the tag", shortened(tag))
	default:
		return n.Value, true
	}
	return "", false
}

func isOff(text string) bool { return strings.EqualFold(text, "off") }

const cannotBeOff = "cannot be off; give a positive value, or remove the key to inherit it"

// remedy is what to do about a value that seems to mean off.
func (s switchable) remedy() string {
	if s == orOff {
		return "write off to switch it off, or remove the key to inherit it"
	}
	return "it " + cannotBeOff
}

var number = regexp.MustCompile(`^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)$`)

func duration(s switchable, ptr func(*draft) *time.Duration) readFunc {
	return func(r *reader, n *yaml.Node, path string) func(*draft) {
		text, ok := r.word(n, path, "a duration such as 5s")
		if !ok {
			return nil
		}
		wrong := func(format string, args ...any) func(*draft) {
			r.add(posOf(n), path, format, args...)
			return nil
		}
		if isOff(text) {
			if s != orOff {
				return wrong(cannotBeOff)
			}
			return func(d *draft) { *ptr(d) = -1 }
		}
		bare := number.MatchString(text)
		value, err := time.ParseDuration(text)
		switch {
		case bare && strings.Trim(text, "+-0.") == "", err == nil && value == 0:
			return wrong("%s is no duration; %s", shortened(text), s.remedy())
		case bare && text[0] == '-', err == nil && value < 0:
			return wrong("%s is negative; %s", shortened(text), s.remedy())
		case bare:
			return wrong("%s has no unit; write %[1]ss if seconds are meant, or %[1]sms or %[1]sm", shortened(text))
		case err != nil:
			return wrong("%q is no duration; write it like 5s, 250ms, 1m30s or 24h", shortened(text))
		case value < time.Millisecond:
			return wrong("%s is under a millisecond; is the unit wrong? Write it like 5s or 250ms", shortened(text))
		}
		return func(d *draft) { *ptr(d) = value }
	}
}

// count reads a whole number from 1 to most.
func count[N int | uint32](s switchable, ptr func(*draft) *N) readFunc {
	const most = math.MaxInt32 // on every machine, and for unsigned fields, too
	return func(r *reader, n *yaml.Node, path string) func(*draft) {
		text, ok := r.word(n, path, "a whole number")
		if !ok {
			return nil
		}
		if isOff(text) && s == orOff {
			off := -1
			return func(d *draft) { *ptr(d) = N(off) }
		}
		value, err := strconv.ParseUint(text, 10, 64)
		switch {
		case isOff(text):
			r.add(posOf(n), path, cannotBeOff)
		case err == nil && value == 0, number.MatchString(text) && text[0] == '-':
			r.add(posOf(n), path, "%s is less than 1; %s", shortened(text), s.remedy())
		case err != nil:
			r.add(posOf(n), path, "%q is no whole number; give one such as 10", shortened(text))
		case value > most:
			r.add(posOf(n), path, "%d is too large; give %d at most", value, most)
		default:
			return func(d *draft) { *ptr(d) = N(value) }
		}
		return nil
	}
}

// rate reads a number of things a second.
func rate(ptr func(*draft) *float64) readFunc {
	return func(r *reader, n *yaml.Node, path string) func(*draft) {
		text, ok := r.word(n, path, "a number such as 20 or 0.5")
		switch {
		case !ok:
			return nil
		case isOff(text):
			return func(d *draft) { *ptr(d) = -1 }
		case !number.MatchString(text):
			r.add(posOf(n), path, "%q is no number; give one such as 20 or 0.5, or off", shortened(text))
			return nil
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || value <= 0 {
			r.add(posOf(n), path, "%s is no rate; %s", shortened(text), orOff.remedy())
			return nil
		}
		return func(d *draft) { *ptr(d) = value }
	}
}

// share reads a part of a whole.
func share(ptr func(*draft) *float64) readFunc {
	return func(r *reader, n *yaml.Node, path string) func(*draft) {
		text, ok := r.word(n, path, "a number such as 0.5")
		if !ok {
			return nil
		}
		value, err := strconv.ParseFloat(text, 64)
		if err != nil || !number.MatchString(text) || value <= 0 || value > 1 {
			r.add(posOf(n), path, "%q is not between 0 and 1; write 0.5 for one half", shortened(text))
			return nil
		}
		return func(d *draft) { *ptr(d) = value }
	}
}

var (
	sizeText  = regexp.MustCompile(`^([0-9]+) ?([A-Za-z]*)$`)
	sizeUnits = map[string]int64{
		"": 1, "B": 1, "KB": 1e3, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30,
	}
)

func size(ptr func(*draft) *int64) readFunc {
	return func(r *reader, n *yaml.Node, path string) func(*draft) {
		text, ok := r.word(n, path, "a size such as 64KiB")
		switch {
		case !ok:
			return nil
		case isOff(text):
			return func(d *draft) { *ptr(d) = -1 }
		case strings.HasPrefix(text, "-"):
			r.add(posOf(n), path, "%s is negative; %s", shortened(text), orOff.remedy())
			return nil
		}
		m := sizeText.FindStringSubmatch(text)
		if m == nil || sizeUnits[m[2]] == 0 {
			r.add(posOf(n), path, "%q is no size; write it like 64KiB, 1MB or 65536, the number being whole", shortened(text))
			return nil
		}
		value, err := strconv.ParseInt(m[1], 10, 64)
		unit := sizeUnits[m[2]]
		switch {
		case err != nil || value > math.MaxInt64/unit:
			r.add(posOf(n), path, "%s is too large; no body of that size is kept", shortened(text))
			return nil
		case value == 0:
			r.add(posOf(n), path, "%s is no size; %s", shortened(text), orOff.remedy())
			return nil
		}
		return func(d *draft) { *ptr(d) = value * unit }
	}
}

func toggle(ptr func(*draft) *idlewise.Toggle) readFunc {
	return func(r *reader, n *yaml.Node, path string) func(*draft) {
		text, ok := r.word(n, path, "on or off")
		if !ok {
			return nil
		}
		switch strings.ToLower(text) {
		case "on", "true":
			return func(d *draft) { *ptr(d) = idlewise.On }
		case "off", "false":
			return func(d *draft) { *ptr(d) = idlewise.Off }
		}
		r.add(posOf(n), path, "%q is neither on nor off; write one of the two", shortened(text))
		return nil
	}
}

// text reads a name; none is what stands for off, where there is such a thing.
func text(want, none string, ptr func(*draft) *string) readFunc {
	return func(r *reader, n *yaml.Node, path string) func(*draft) {
		value, ok := r.word(n, path, want)
		switch {
		case !ok:
			return nil
		case value == "":
			r.add(posOf(n), path, "is empty; give %s, or remove the key", want)
			return nil
		case !isOff(value):
		case none == "":
			r.add(posOf(n), path, "cannot be off; give %s, or remove the key to inherit it", want)
			return nil
		default:
			value = none
		}
		return func(d *draft) { *ptr(d) = value }
	}
}

// onlyOff reads the one value that a group of settings has as a whole.
func onlyOff(apply func(*draft)) readFunc {
	return func(r *reader, n *yaml.Node, path string) func(*draft) { return apply }
}

// statuses reads a list of response statuses, the lowest of which is least.
func (r *reader) statuses(n *yaml.Node, path string, least int) ([]int, bool) {
	list := target(n)
	if list.Kind != yaml.SequenceNode {
		r.add(posOf(n), path, "is %s; give a list of statuses such as [502, 503, 504]", kindOf(list))
		return nil, false
	}
	var all []int
	good := true
	for i, item := range list.Content {
		at := path + "[" + strconv.Itoa(i) + "]"
		text, ok := r.word(item, at, "a status such as 503")
		status, err := strconv.Atoi(text)
		switch {
		case !ok:
			good = false
		case err != nil || status < least || status > 599:
			r.add(posOf(item), at, "%q is no status for this; use one from %d to 599", shortened(text), least)
			good = false
		default:
			all = append(all, status)
		}
	}
	return all, good
}
