// Command claims measures again what the docs say, as far as that is cheap,
// and fails if a number in them does not hold any more, or is no longer there.
//
//	go run ./claims
//
// See README.md of the bench module.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/idlewise/idlewise/bench/internal/command"
	"github.com/idlewise/idlewise/faultserver"
)

func main() { command.Main("claims", nil, run) }

func run(ctx context.Context, args []string, out, progress io.Writer) error {
	fs := flag.NewFlagSet("claims", flag.ContinueOnError)
	fs.SetOutput(progress)
	only := fs.String("only", "", "hold only claims whose text, file or command's name has this in it")
	commands := fs.Bool("commands", false, "print the commands instead of running them")
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q; only flags are taken", fs.Arg(0))
	}
	if *commands {
		for _, s := range sources {
			fmt.Fprintln(out, s.command())
		}
		return nil
	}
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	root, err := rootOf(dir)
	if err != nil {
		return err
	}
	chosen := slices.DeleteFunc(slices.Clone(claims), func(c claim) bool {
		return !strings.Contains(strings.Join([]string{c.what, c.file, c.source}, "\n"), *only)
	})
	if len(chosen) == 0 {
		return fmt.Errorf("-only: %q is in no claim", *only)
	}
	verdicts := hold(ctx, root, chosen, progress)
	if err := printTable(out, verdicts); err != nil {
		return err
	}
	return summary(verdicts)
}

// inProcess is the source of what this program counts itself.
const inProcess = ""

// hold measures what the claims need, and judges them.
func hold(ctx context.Context, root string, chosen []claim, progress io.Writer) []verdict {
	measured := map[string]figures{inProcess: {
		"personalities": float64(len(faultserver.Personalities())),
		"scenarios":     float64(len(faultserver.Scenarios())),
	}}
	failed := map[string]error{}
	for _, s := range sources {
		if !slices.ContainsFunc(chosen, func(c claim) bool { return c.source == s.name }) {
			continue
		}
		began := time.Now()
		fmt.Fprintln(progress, s.command())
		measured[s.name], failed[s.name] = s.run(ctx, root)
		fmt.Fprintf(progress, "    took %v\n", time.Since(began).Round(100*time.Millisecond))
	}
	var verdicts []verdict
	for i := range chosen {
		c := &chosen[i]
		verdicts = append(verdicts, c.judge(root, measured[c.source], failed[c.source]))
	}
	return verdicts
}

func printTable(out io.Writer, verdicts []verdict) error {
	var b strings.Builder
	b.WriteString("| claim | documented in | as | bound | measured | holds |\n|---|---|---:|---:|---:|---|\n")
	for _, v := range verdicts {
		c := v.claim
		switch {
		case v.err != nil:
			fmt.Fprintf(&b, "| %s | %s | | | | not judged |\n", c.what, c.file)
		default:
			holds := "yes"
			if !v.holds {
				holds = "**no**"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", c.what, c.file,
				number(v.documented), c.holds.text(v.documented), number(v.measured), holds)
		}
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// summary is the error that says which claims do not hold, nil if all do.
func summary(verdicts []verdict) error {
	var errs []error
	told := map[string]bool{} // one command's failure is that of many claims
	for _, v := range verdicts {
		switch {
		case v.err != nil && told[v.err.Error()]:
		case v.err != nil:
			told[v.err.Error()] = true
			errs = append(errs, fmt.Errorf("%s: %w", v.claim.what, v.err))
		case !v.holds:
			errs = append(errs, fmt.Errorf("%s: %s says %s, so that %s was expected, and %s was measured; find out why, or correct the docs",
				v.claim.what, v.claim.file, number(v.documented), v.claim.holds.text(v.documented), number(v.measured)))
		}
	}
	return errors.Join(errs...)
}
