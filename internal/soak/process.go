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

// seedVariable makes a process of this program the servers, with that seed. It
// ends when its standard input does, and so with its parent, however that ends.
const seedVariable = "IDLEWISE_SOAK_SERVERS_SEED"

// servers are the process with the servers.
type servers struct {
	all    []served
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	answer *json.Decoder
}

func startServers(ctx context.Context, seed uint64) (*servers, error) {
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	s := &servers{cmd: exec.CommandContext(ctx, exe)}
	s.cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d", seedVariable, seed))
	s.cmd.Stderr = os.Stderr
	s.cmd.WaitDelay = time.Second
	if s.stdin, err = s.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	stdout, err := s.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	s.answer = json.NewDecoder(stdout)
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := s.read(&s.all); err != nil {
		s.stop()
		return nil, fmt.Errorf("the servers did not start: %w", err)
	}
	return s, nil
}

func (s *servers) read(into any) error {
	err := s.answer.Decode(into)
	if err == io.EOF {
		err = errors.New("their process ended without an answer")
	}
	return err
}

// account asks what happened since it was asked last.
func (s *servers) account() (a account, err error) {
	if _, err = io.WriteString(s.stdin, "\n"); err == nil {
		err = s.read(&a)
	}
	return a, err
}

func (s *servers) stop() error {
	s.stdin.Close()
	return s.cmd.Wait()
}
