package faultserver

import (
	"bytes"
	"flag"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var updateREADME = flag.Bool("update", false, "rewrite the generated parts of README.md")

// TestREADMEAgreesWithTheCode compares the tables and the code shown in
// README.md with what they are made of. To rewrite them:
//
//	go test ./faultserver -run README -update
func TestREADMEAgreesWithTheCode(t *testing.T) {
	was, err := os.ReadFile("README.md")
	require.NoError(t, err)
	is := was
	for name, text := range map[string]string{
		"faults": faultTable(t), "personalities": personalityTable(t), "drains": drainTable(t),
		"first":    wholeFile(t, "payment_test.go"),
		"scenario": sourceOf(t, "first_test.go", "TestAClientSurvivesAnOutageInThreePhases"),
		"header":   sourceOf(t, "first_test.go", "TestARequestAsksForItsOwnFault"),
		"names":    sourceOf(t, "first_test.go", "TestAClientMeetsANameThatIsGoneForAWhile"),
		"time":     sourceOf(t, "first_test.go", "TestAnHourOfIdlenessTakesNoTime"),
	} {
		block := regexp.MustCompile(`(?s)(<!-- generated: ` + name + ` -->\n).*?(<!-- end -->)`)
		require.Regexp(t, block, string(is), "README.md has no block %q", name)
		is = block.ReplaceAll(is, []byte("${1}"+strings.ReplaceAll(text, "$", "$$")+"${2}"))
	}
	if *updateREADME {
		require.NoError(t, os.WriteFile("README.md", is, 0o644))
		return
	}
	require.True(t, bytes.Equal(was, is), "README.md is out of date: go test ./faultserver -run README -update")
}

func TestTheFirstTestIsFifteenLines(t *testing.T) {
	code := sourceOf(t, "payment_test.go", "TestAPaymentWhoseAnswerIsLostIsMadeOnce")
	require.LessOrEqual(t, strings.Count(code, "\n")-2, 15, "without the fences")
}

// faultTable has a row per kind. What it does is the constant's doc comment,
// which parameters it takes is asked of Validate.
func faultTable(t *testing.T) string {
	docs := constDocs(t)
	var b strings.Builder
	b.WriteString("| kind | protocols | parameters | what happens |\n|---|---|---|---|\n")
	for _, k := range Kinds() {
		doc, ok := docs[strings.ReplaceAll(k.String(), "-", "")]
		require.True(t, ok, "%v: no constant with a doc comment was found", k)
		fmt.Fprintf(&b, "| `%v` | %s | %s | %s |\n", k, protocolColumn(k.spec().protos), parameters(k), doc)
	}
	return b.String()
}

func protocolColumn(p protoSet) string {
	switch p {
	case onHTTP1:
		return "HTTP/1"
	case onHTTP2:
		return "HTTP/2"
	case onBoth:
		return "both"
	}
	return "connection"
}

// selectors are the fields of Fault that every kind has in principle.
var selectors = []string{"Kind", "Nth", "NthOnConn", "ReusedOnly", "IdleAtLeast", "Probability", "Method", "Path", "Header", "Times"}

// parameters sets each field in turn and reads what Validate says of it.
func parameters(k Kind) string {
	var names []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Fault]()) {
		if slices.Contains(selectors, field.Name) {
			continue
		}
		f := Fault{Kind: k}
		switch v := reflect.ValueOf(&f).Elem().FieldByIndex(field.Index); v.Kind() {
		case reflect.Bool:
			v.SetBool(true)
		case reflect.String:
			v.SetString("x")
		case reflect.Int, reflect.Int64:
			v.SetInt(500)
		case reflect.Uint32:
			v.SetUint(500)
		}
		says := func(f Fault, what string) bool {
			err := f.Validate()
			return err != nil && strings.Contains(err.Error(), fmt.Sprintf("%s: %v %s", field.Name, k, what))
		}
		switch {
		case says(f, "does not use it"):
		case says(Fault{Kind: k}, "needs it"):
			names = append(names, "**"+field.Name+"**")
		default:
			names = append(names, field.Name)
		}
	}
	return strings.Join(names, ", ")
}

// constDocs returns the doc comments of the package's constants by their names
// in small letters, as one line without the leading name.
func constDocs(t *testing.T) map[string]string {
	files, err := filepath.Glob("*.go")
	require.NoError(t, err)
	docs := map[string]string{}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ParseComments)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok || spec.Doc == nil {
				return true
			}
			ident := spec.Names[0].Name
			text := strings.TrimPrefix(strings.Join(strings.Fields(spec.Doc.Text()), " "), ident+" ")
			// The table has a column for the protocol.
			text = strings.TrimSuffix(strings.TrimSuffix(text, " HTTP/1."), " HTTP/2.")
			docs[strings.ToLower(ident)] = strings.ReplaceAll(text, "|", "\\|")
			return true
		})
	}
	return docs
}

func personalityTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| name | idle timeout | HTTP/2 | a PING resets it | Keep-Alive | requests, age | slow request | ends idle ones by | source |\n" +
		"|---|---|---|---|---|---|---|---|---|\n")
	for _, d := range descriptions(t) {
		name := "`" + strings.Join(append([]string{d.Name}, d.Aliases...), "`, `") + "`"
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", name, idleCell(d), orNone(d.IdleTimeoutHTTP2),
			d.PingResets, keepAliveCell(d), limitCell(d), headCell(d), d.Close, d.Source)
	}
	return b.String()
}

func drainTable(t *testing.T) string {
	var b strings.Builder
	b.WriteString("| name | what it is | what Drain and Restart do |\n|---|---|---|\n")
	for _, d := range descriptions(t) {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", d.Name, d.Text, d.Shutdown)
	}
	return b.String()
}

func descriptions(t *testing.T) []PersonalityDescription {
	var all []PersonalityDescription
	for _, name := range Personalities() {
		d, err := DescribePersonality(name)
		require.NoError(t, err)
		all = append(all, d)
	}
	return all
}

func orNone(d time.Duration) string {
	if d == 0 {
		return "none"
	}
	return short(d)
}

// short is a duration without units that are zero.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

func idleCell(d PersonalityDescription) string {
	if d.Late > 0 {
		return fmt.Sprintf("%s, up to %s late", short(d.IdleTimeout), short(d.Late))
	}
	return orNone(d.IdleTimeout)
}

func keepAliveCell(d PersonalityDescription) string {
	if d.KeepAlive == "" {
		return "no"
	}
	return "`" + d.KeepAlive + "` " + map[string]string{"always": "always", "asked": "if asked"}[d.KeepAliveIf]
}

func limitCell(d PersonalityDescription) string {
	var parts []string
	if d.MaxRequests > 0 {
		parts = append(parts, fmt.Sprint(d.MaxRequests))
	}
	if d.MaxAge > 0 {
		parts = append(parts, short(d.MaxAge))
	}
	return strings.Join(parts, ", ")
}

func headCell(d PersonalityDescription) string {
	switch {
	case d.HeadTimeout == 0:
		return ""
	case d.Says408:
		return "408 after " + short(d.HeadTimeout)
	}
	return "closed after " + short(d.HeadTimeout)
}

// wholeFile is a file in a Markdown fence, without its package clause.
func wholeFile(t *testing.T, file string) string {
	src, err := os.ReadFile(file)
	require.NoError(t, err)
	_, rest, ok := strings.Cut(string(src), "\n\n")
	require.True(t, ok)
	return "```go\n" + rest + "```\n"
}

// sourceOf is a function's source in a Markdown fence.
func sourceOf(t *testing.T, file, function string) string {
	fset := token.NewFileSet()
	parsed, err := parser.ParseFile(fset, file, nil, parser.ParseComments)
	require.NoError(t, err)
	for _, decl := range parsed.Decls {
		if f, ok := decl.(*ast.FuncDecl); ok && f.Name.Name == function {
			var b bytes.Buffer
			src, err := os.ReadFile(file)
			require.NoError(t, err)
			start, end := fset.Position(f.Pos()).Offset, fset.Position(f.End()).Offset
			formatted, err := format.Source(src[start:end])
			require.NoError(t, err)
			fmt.Fprintf(&b, "```go\n%s\n```\n", formatted)
			return b.String()
		}
	}
	t.Fatalf("%s has no function %s", file, function)
	return ""
}
