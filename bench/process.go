package main

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

// The command runs itself for what needs a process of its own. What such a
// child is for stands in its environment; it ends when its standard input
// ends, and so with its parent, however that ends.
const roleVariable = "IDLEWISE_BENCH_ROLE"

const (
	roleServer = "server"
	roleIdle   = "idle"
)

// runRole does a child's work and reports whether there was any.
func runRole(role string) (bool, error) {
	switch role {
	case "":
		return false, nil
	case roleServer:
		return true, serve(os.Stdin, os.Stdout)
	case roleIdle:
		go func() {
			io.Copy(io.Discard, os.Stdin)
			os.Exit(1) // the parent is gone
		}()
		return true, sampleIdle(os.Getenv(orderVariable), os.Stdout)
	}
	return true, fmt.Errorf("%s: %q is no role", roleVariable, role)
}

// A child is a process that this one started.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	answer *json.Decoder
}

func startChild(ctx context.Context, env ...string) (*child, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, exe)
	cmd.Env = append(os.Environ(), env...)
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
	return &child{cmd, stdin, json.NewDecoder(stdout)}, nil
}

// read waits for the child's next answer.
func (c *child) read(into any) error {
	err := c.answer.Decode(into)
	if err == io.EOF {
		err = errors.New("it ended without an answer")
	}
	return err
}

// stop lets the child end and waits for it.
func (c *child) stop() error {
	c.stdin.Close()
	return c.cmd.Wait()
}
