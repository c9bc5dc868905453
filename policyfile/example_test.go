package policyfile_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"github.com/idlewise/idlewise"
	"github.com/idlewise/idlewise/policyfile"
)

// Policies are part of a program's configuration.
func ExampleParse() {
	policies, err := policyfile.Parse("policies.yaml", []byte(`
default:
  max_conns: 100
upstreams:
  api.example.com:
    extends: [uvicorn, behind-load-balancer]
    max_idle_time: off
`))
	if err != nil {
		panic(err)
	}
	policy, pattern := policies.For(&url.URL{Scheme: "https", Host: "api.example.com"})
	fmt.Println(pattern, policy.ServerKeepAlive, policy.MaxConns, policy.Retry.Max)
	// Output: api.example.com 5s 100 2
}

// Everything that is wrong with a file is reported at once.
func ExampleError() {
	_, err := policyfile.Parse("policies.yaml", []byte(`
default:
  max_idle_time: 60
upstreams:
  api.example.com:
    max_con: 100
    extends: uvicron
`))
	fmt.Println(err)
	// Output:
	// policies.yaml:3:18: default.max_idle_time: 60 has no unit; write 60s if seconds are meant, or 60ms or 60m
	// policies.yaml:6:5: upstreams["api.example.com"].max_con: is not known; did you mean max_conns?
	// policies.yaml:7:14: upstreams["api.example.com"].extends: no policy is called "uvicron"; did you mean uvicorn?
}

// A file that changes is taken over while the process runs.
func ExampleWatch() {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "policies.yaml")
	if err := os.WriteFile(path, []byte("default: {max_conns: 100}\n"), 0o600); err != nil {
		panic(err)
	}

	transport, err := idlewise.New(idlewise.Config{})
	if err != nil {
		panic(err)
	}
	defer transport.Close()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel() // ends the watching
	if err := policyfile.Watch(ctx, path, transport.SetPolicies); err != nil {
		panic(err) // the file as it is now is wrong
	}
	fmt.Println(transport.Policies().Default.MaxConns)
	// Output: 100
}
