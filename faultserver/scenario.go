package faultserver

import (
	"bytes"
	"embed"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Scenario re-enacts an incident: how the server is set up, and phases, one
// after the other, each with the faults in force while it lasts and what is
// done to the server when it begins. Config.Scenario plays one from the start,
// Server.Play on a running server.
//
// In a text, see [ParseScenario], every field has the snake_case form of its
// name here. A Scenario must not be changed while it is played.
type Scenario struct {
	// Name is required in a text.
	Name string
	// Description says what happened, for people.
	Description string
	// Server is how the server is set up. A field that is set in Config, too,
	// is Config's.
	Server ScenarioServer
	// ScaleTimes divides the scenario's own times, those of phases and of
	// faults, by the server's time scale, as the personality's times are.
	ScaleTimes bool
	// Faults are in force throughout, before those of the phases.
	Faults []Fault
	// Phases follow one another. Without any the scenario is one phase without
	// end.
	Phases []ScenarioPhase
	// Repeat is how often the phases are played in all. 0: once.
	Repeat int
	// Forever repeats them until the server closes or Play's context ends.
	Forever bool
}

// ScenarioServer are the settings of Config that a scenario may make. Zero
// fields set nothing.
type ScenarioServer struct {
	Personality        string
	TimeScale          float64
	IdleTimeout        time.Duration // negative: no limit
	KeepAlive          string
	MaxRequestsPerConn int // negative: no limit
	TLS                bool
	// Protocols are names: http1, http2 (which needs TLS), h2c. Empty: http1,
	// and under TLS also http2.
	Protocols            []string
	MaxConcurrentStreams uint32
	Seed                 uint64
}

// ScenarioPhase is a part of a scenario. It ends when Duration has passed or
// one of the conditions of Until is met, whichever comes first. The last one
// may do without either: then its faults stay in force.
type ScenarioPhase struct {
	// Name shows in Server.Phase. Required.
	Name string
	// Do are operations, by name, done one after the other when the phase
	// begins, after its faults have come into force: see [Operations]. One that
	// has not finished when the phase ends is given up.
	Do []string
	// Duration is how long the phase lasts, at most. 0: no limit.
	Duration time.Duration
	// Until are further ends.
	Until ScenarioEnd
	// Faults are in force from the moment the last phase's are not. Their Nth
	// and Times are counted anew in every phase.
	Faults []Fault
}

// ScenarioEnd are a phase's ends other than time. Zero fields are none.
type ScenarioEnd struct {
	// Requests ends the phase when so many requests that began in it have been
	// answered or lost. A request that comes before that, but after the last
	// of them, ends it too, and belongs to the next phase already.
	Requests int
	// Connections ends the phase as soon as so many connections have been
	// accepted in it; what is asked on the last of them belongs to the next
	// phase.
	Connections int
	// Done ends the phase when the operations of Do have finished.
	Done bool
}

// maxScenario bounds a scenario's text.
const maxScenario = 1 << 20

// ParseScenario reads a scenario. The text is YAML, or JSON if the name ends in
// .json; the name stands in errors. Every mistake is reported with its line and
// column, see [ParseErrors]: unknown fields, kinds and operations with the name
// that was probably meant, values of the wrong form, selectors that contradict
// each other, a scenario that can never end.
func ParseScenario(text []byte, name string) (*Scenario, error) {
	return newDecoder(name).parseScenario(text)
}

func (d *decoder) parseScenario(text []byte) (*Scenario, error) {
	name := d.file
	if len(text) > maxScenario {
		return nil, &ParseError{File: name, Line: 1, Column: 1, Message: fmt.Sprintf("is larger than %d bytes", maxScenario)}
	}
	tree := yamlTree
	if strings.HasSuffix(name, ".json") {
		tree = jsonTree
	}
	root, err := tree(text, name)
	if err != nil {
		return nil, err
	}
	return d.scenario(root)
}

func (d *decoder) scenario(root *yaml.Node) (*Scenario, error) {
	sc := &Scenario{}
	d.value(root, reflect.ValueOf(sc).Elem(), "")
	if !d.bad[""] {
		if sc.Name == "" && !d.bad["name"] {
			d.fail(root, "name", "is missing")
		}
		d.validate("", sc.problems())
		if d.supports != nil {
			d.validate("", sc.unsupported(d.supports))
		}
	}
	if err := d.err(); err != nil {
		return nil, err
	}
	return sc, nil
}

// Text returns the scenario as YAML that ParseScenario reads.
func (sc *Scenario) Text() ([]byte, error) {
	faults := sc.Faults
	for i := range sc.Phases {
		faults = append(faults[:len(faults):len(faults)], sc.Phases[i].Faults...)
	}
	for _, f := range faults {
		if err := f.inUTF8(); err != nil {
			return nil, fmt.Errorf("faultserver: scenario %s: fault %v: %w", sc.Name, f.Kind, err)
		}
	}
	var b bytes.Buffer
	enc := yaml.NewEncoder(&b)
	enc.SetIndent(2)
	if err := enc.Encode(encode(reflect.ValueOf(*sc))); err != nil {
		return nil, fmt.Errorf("faultserver: scenario %s: %w", sc.Name, err)
	}
	err := enc.Close()
	return b.Bytes(), err
}

// LoadScenario reads an embedded scenario by its name, see [Scenarios], or a
// file: whatever has a path separator or ends in .yaml, .yml or .json.
func LoadScenario(nameOrFile string) (*Scenario, error) {
	if strings.ContainsAny(nameOrFile, `/\`) || slices.Contains([]string{".yaml", ".yml", ".json"}, path.Ext(nameOrFile)) {
		f, err := os.Open(nameOrFile)
		if err != nil {
			return nil, fmt.Errorf("faultserver: scenario: %w", err)
		}
		return readScenario(f, nameOrFile)
	}
	if !slices.Contains(Scenarios(), nameOrFile) {
		return nil, fmt.Errorf("faultserver: %w (a file's name ends in .yaml, .yml or .json)",
			unknownName("scenario", nameOrFile, Scenarios()))
	}
	return LoadScenarioFS(embedded, "scenarios/"+nameOrFile+".yaml")
}

// LoadScenarioFS reads a scenario from a file system, such as an embed.FS.
func LoadScenarioFS(fsys fs.FS, file string) (*Scenario, error) {
	f, err := fsys.Open(file)
	if err != nil {
		return nil, fmt.Errorf("faultserver: scenario: %w", err)
	}
	return readScenario(f, file)
}

func readScenario(f io.ReadCloser, name string) (*Scenario, error) {
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxScenario+1))
	if err != nil {
		return nil, fmt.Errorf("faultserver: scenario: %w", err)
	}
	return ParseScenario(text, name)
}

//go:embed scenarios/*.yaml
var embedded embed.FS

// Scenarios returns the names of the scenarios that are part of this package,
// sorted. [LoadScenario] reads them.
func Scenarios() []string {
	files, _ := fs.Glob(embedded, "scenarios/*.yaml") // the pattern is well-formed
	names := make([]string, len(files))
	for i, f := range files {
		names[i] = strings.TrimSuffix(path.Base(f), ".yaml")
	}
	slices.Sort(names)
	return names
}
