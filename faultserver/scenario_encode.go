package faultserver

import (
	"bytes"
	"encoding"
	"encoding/json"
	"reflect"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// encode is the reverse of decoder.value. Fields that are zero are left out.
func encode(v reflect.Value) *yaml.Node {
	switch {
	case v.Type() == durationType:
		return scalarNode("!!str", time.Duration(v.Int()).String())
	case v.Kind() == reflect.Struct:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() && !isZero(v.Field(i)) {
				n.Content = append(n.Content, scalarNode("!!str", snakeCase(f.Name)), encode(v.Field(i)))
			}
		}
		return n
	case v.Kind() == reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for i := range v.Len() {
			n.Content = append(n.Content, encode(v.Index(i)))
		}
		return n
	}
	if m, ok := v.Interface().(encoding.TextMarshaler); ok {
		text, _ := m.MarshalText() // Kind's cannot fail
		return scalarNode("!!str", string(text))
	}
	switch {
	case v.Kind() == reflect.Bool:
		return scalarNode("!!bool", strconv.FormatBool(v.Bool()))
	case v.CanInt():
		return scalarNode("!!int", strconv.FormatInt(v.Int(), 10))
	case v.CanUint():
		return scalarNode("!!int", strconv.FormatUint(v.Uint(), 10))
	case v.CanFloat():
		// The exponent's form is no number to YAML.
		text := strconv.FormatFloat(v.Float(), 'f', -1, 64)
		if !strings.Contains(text, ".") {
			return scalarNode("!!int", text)
		}
		return scalarNode("!!float", text)
	}
	return scalarNode("!!str", v.String())
}

func isZero(v reflect.Value) bool { return v.IsZero() || v.Kind() == reflect.Slice && v.Len() == 0 }

func scalarNode(tag, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: tag, Value: value}
}

// writeJSON writes an encoded node as JSON, its fields in their order.
func writeJSON(b *bytes.Buffer, n *yaml.Node) {
	switch n.Kind {
	case yaml.MappingNode:
		b.WriteByte('{')
		for i, c := range n.Content {
			switch {
			case i%2 == 1:
				b.WriteByte(':')
			case i > 0:
				b.WriteByte(',')
			}
			writeJSON(b, c)
		}
		b.WriteByte('}')
	case yaml.SequenceNode:
		b.WriteByte('[')
		for i, c := range n.Content {
			if i > 0 {
				b.WriteByte(',')
			}
			writeJSON(b, c)
		}
		b.WriteByte(']')
	default:
		if n.Tag != "!!str" {
			b.WriteString(n.Value)
			return
		}
		text, _ := json.Marshal(n.Value) // of a string, which cannot fail
		b.Write(text)
	}
}
