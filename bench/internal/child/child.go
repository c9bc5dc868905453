// Package child lets a command run itself for what needs a process of its own,
// and says what a process uses.
package child

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// RoleVariable is the environment variable that says what a child is for. It is
// unset in the process that a user started.
const RoleVariable = "IDLEWISE_BENCH_ROLE"

// A Role is what a child does. It ends when its standard input ends, and so
// with its parent, however that ends.
type Role func(stdin io.Reader, stdout io.Writer) error

// Run does this process's role and reports whether it has one.
func Run(roles map[string]Role) (bool, error) {
	name := os.Getenv(RoleVariable)
	if name == "" {
		return false, nil
	}
	role, ok := roles[name]
	if !ok {
		return true, fmt.Errorf("%s: %q is no role", RoleVariable, name)
	}
	return true, role(os.Stdin, os.Stdout)
}

// A Process is a child of this one.
type Process struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	answer *json.Decoder
}

// Start starts this program in a role, with more in its environment.
func Start(ctx context.Context, role string, env ...string) (*Process, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), RoleVariable+"="+role)
	cmd.Env = append(cmd.Env, env...)
	cmd.Stderr = os.Stderr
	cmd.WaitDelay = time.Second
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return &Process{cmd, stdin, json.NewDecoder(stdout)}, nil
}

// Read waits for the child's next answer, which is JSON.
func (p *Process) Read(into any) error {
	err := p.answer.Decode(into)
	if err == io.EOF {
		err = errors.New("it ended without an answer")
	}
	return err
}

// Stop lets the child end and waits for it.
func (p *Process) Stop() error {
	p.stdin.Close()
	return p.cmd.Wait()
}
