package policyfile

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/idlewise/idlewise"
)

// maxSize bounds what is read. A file with a thousand upstreams has 100 KiB.
const maxSize = 1 << 20

// Parse reads policies from the text of a file; name is what it is called in
// errors. What is wrong with the text is an *Error, which holds every mistake,
// up to the first thousand. The policies have passed idlewise.Policies.Validate.
func Parse(name string, data []byte) (idlewise.Policies, error) {
	f := parse(data)
	if err := f.err(name); err != nil {
		return idlewise.Policies{}, err
	}
	return f.policies, nil
}

// Load reads policies from the file at path. Errors are those of the file
// system, and *Error for what is wrong in the file.
func Load(path string) (idlewise.Policies, error) {
	data, err := read(path)
	if err != nil {
		return idlewise.Policies{}, fmt.Errorf("policyfile: %w", err)
	}
	return Parse(path, data)
}

// read returns what the file holds, or the first byte too many.
func read(path string) ([]byte, error) {
	// A pipe would keep the caller waiting for its other end.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, maxSize+1))
}

// A file is one that is being read.
type file struct {
	reader
	fallback  *block            // default:
	named     map[string]*block // policies:
	upstreams map[string]*block
	policies  idlewise.Policies
}

// parse reads as much as it can and collects what is wrong.
func parse(data []byte) *file {
	f := &file{
		fallback:  &block{path: "default", own: make(settings)},
		named:     make(map[string]*block),
		upstreams: make(map[string]*block),
	}
	if len(data) > maxSize {
		f.add(pos{1, 1}, "", "is larger than %d KiB; a policy file is not", maxSize>>10)
		return f
	}
	root := f.document(data)
	if root == nil {
		return f
	}
	named, upstreams := f.sections(root)
	f.resolveAll(named, upstreams)
	f.validate()
	return f
}

// sections reads what stands in the file, in its order.
func (f *file) sections(root *yaml.Node) (named, upstreams []*block) {
	const known = "default, policies and upstreams"
	for _, e := range f.entries(root, "", known) {
		switch e.key {
		case "default":
			f.fallback = f.block(e.value, "default", e.at)
		case "policies":
			for _, p := range f.entries(e.value, e.key, "policies by name") {
				b := f.block(p.value, join(e.key, p.key), p.at)
				if p.key == "" {
					f.add(p.at, e.key, "has a policy without a name; give it one, so that others can extend it")
					continue
				}
				b.name = p.key
				f.named[p.key] = b
				named = append(named, b)
			}
		case "upstreams":
			for _, u := range f.entries(e.value, e.key, "policies by pattern, such as api.example.com") {
				b := f.block(u.value, e.key+"["+strconv.Quote(shortened(u.key))+"]", u.at)
				if u.key == "" {
					f.add(u.at, b.path, "the pattern is empty; give host, *.domain, or * for every host")
					continue
				}
				b.name = u.key
				f.upstreams[u.key] = b
				upstreams = append(upstreams, b)
			}
		default:
			f.unknownSection(e, known)
		}
	}
	return named, upstreams
}

func (f *file) unknownSection(e entry, known string) {
	path := shortened(e.key)
	if _, isGroup := groups[e.key]; e.key != "" && isGroup || byKey[e.key] != nil || e.key == extendsKey {
		f.add(e.at, path, "belongs below default, or below a policy or an upstream")
		return
	}
	f.add(e.at, path, "is not known; known are %s", known)
}

// resolveAll makes the policies. The order is that of the file, so that of
// policies that extend each other the same is always the one complained about.
func (f *file) resolveAll(named, upstreams []*block) {
	for _, b := range named {
		f.resolve(b)
	}
	def := f.resolve(f.fallback)
	f.policies.Default = f.policy(f.fallback.path, def)
	if len(upstreams) > 0 {
		f.policies.Upstreams = make(map[string]idlewise.Policy, len(upstreams))
	}
	for _, b := range upstreams {
		b.resolved = f.resolve(b).withDefault(def)
		f.policies.Upstreams[b.name] = f.policy(b.path, b.resolved)
	}
}
