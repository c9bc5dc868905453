package faultserver

import "fmt"

// Kinds returns every kind, in the order of the constants.
func Kinds() []Kind {
	all := make([]Kind, 0, kindEnd-1)
	for k := IdleClose; k < kindEnd; k++ {
		all = append(all, k)
	}
	return all
}

func (k Kind) valid() bool    { return k > 0 && k < kindEnd }
func (k Kind) spec() kindSpec { return kindSpecs[k] }

// judgedWhenIdle reports whether the kind is (also) judged while a connection
// is idle: an age passes whether or not a request is running.
func (k Kind) judgedWhenIdle() bool { return k.spec().at == atIdle || k == CloseAfterAge }

// String returns the kind's kebab-case name; the zero Kind is "none".
func (k Kind) String() string {
	switch {
	case k == 0:
		return "none"
	case !k.valid():
		return fmt.Sprintf("Kind(%d)", uint8(k))
	}
	return kindSpecs[k].name
}

// ParseKind returns the kind of that name. An unknown name is an error that
// says which was probably meant, or where to find them all.
func ParseKind(name string) (Kind, error) {
	for _, k := range Kinds() {
		if kindSpecs[k].name == name {
			return k, nil
		}
	}
	names := make([]string, 0, kindEnd)
	for _, k := range Kinds() {
		names = append(names, k.String())
	}
	return 0, unknownName("kind of fault", name, names)
}

// MarshalText returns the kind's name.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText is [ParseKind].
func (k *Kind) UnmarshalText(text []byte) error {
	parsed, err := ParseKind(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}
