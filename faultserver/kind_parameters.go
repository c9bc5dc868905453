package faultserver

import "reflect"

// Parameters returns the names, as in texts, of the fields that tell the kind
// what exactly to do: those it cannot do without, and those it can. Beside them
// every kind has the selectors of Fault.
func (k Kind) Parameters() (needed, optional []string) {
	if !k.valid() {
		return nil, nil
	}
	says := func(f Fault, field, format string) bool {
		for _, e := range fieldErrors(f.Validate()) {
			if e.path == field && e.format == format {
				return true
			}
		}
		return false
	}
	// Validate is the authority, so it is asked.
	t := reflect.TypeFor[Fault]()
	for i := range t.NumField() {
		with, field := Fault{Kind: k}, t.Field(i).Name
		v := reflect.ValueOf(&with).Elem().Field(i)
		switch {
		case isSelector[field]:
			continue
		case v.Kind() == reflect.Bool:
			v.SetBool(true)
		case v.Kind() == reflect.String:
			v.SetString("x")
		case v.CanInt():
			v.SetInt(1)
		case v.CanUint():
			v.SetUint(1)
		}
		switch {
		case says(with, field, notUsed):
		case says(Fault{Kind: k}, field, isNeeded):
			needed = append(needed, snakeCase(field))
		default:
			optional = append(optional, snakeCase(field))
		}
	}
	return needed, optional
}

// isSelector are the fields of Fault that say when and for whom.
var isSelector = map[string]bool{
	"Kind": true, "Nth": true, "NthOnConn": true, "ReusedOnly": true, "IdleAtLeast": true, "Probability": true,
	"Method": true, "Path": true, "Header": true, "Times": true,
}

// What Validate says of a kind's parameters.
const (
	notUsed  = "%v does not use it"
	isNeeded = "%v needs it"
)
