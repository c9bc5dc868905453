// Command cmd runs seeds of the simulation and stops at the first one that breaks
// a promise, whose plan it cuts down and prints.
//
//	go run ./internal/simulation/cmd -seeds 10000
//	go run ./internal/simulation/cmd -seed 42 -v
//	go run ./internal/simulation/cmd -plan minimal.json
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/idlewise/idlewise/internal/simulation"
)

var (
	seeds  = flag.Uint64("seeds", 1000, "how many seeds to run")
	from   = flag.Uint64("from", 0, "the first of them")
	seed   = flag.Int64("seed", -1, "run only this seed, and print its plan")
	plan   = flag.String("plan", "", "run the plan in this JSON `file`")
	runs   = flag.Int("runs", 1, "how often to run it (-seed, -plan)")
	within = flag.Duration("for", 0, "stop after this `time` (0: when all seeds have run)")
	procs  = flag.Int("procs", 2, "how many seeds to run at a time")
	goOn   = flag.Bool("go-on", false, "go on after a seed that fails, and cut none down")
	shrink = flag.Duration("shrink", time.Minute, "how much `time` cutting a plan down may take")
	loud   = flag.Bool("v", false, "say what each seed came to")
)

func main() {
	flag.Parse()
	log.SetOutput(io.Discard) // net/http's complaints about the servers
	os.Args = os.Args[:1]
	flag.CommandLine = flag.NewFlagSet("test", flag.ExitOnError)
	// testing/synctest wants a *testing.T. testing.Main is kept for programs that
	// do what go test does.
	testing.Init()
	flag.Set("test.parallel", strconv.Itoa(*procs))
	code := 1
	testing.Main(func(string, string) (bool, error) { return true, nil }, []testing.InternalTest{{
		Name: "simulation", F: func(t *testing.T) {
			code = run(t)
			os.Exit(code) // before testing says PASS
		},
	}}, nil, nil)
	os.Exit(code)
}

func run(t *testing.T) int {
	switch {
	case *plan != "":
		p, err := read(*plan)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
		return again(t, p)
	case *seed >= 0:
		p := simulation.Draw(uint64(*seed))
		print(p)
		return again(t, p)
	}
	return many(t)
}

func read(name string) (p simulation.Plan, err error) {
	text, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(text, &p)
	}
	return p, err
}

func print(p simulation.Plan) {
	text, _ := json.MarshalIndent(p, "", "  ")
	fmt.Println(string(text))
}

// again runs one plan as often as wanted.
func again(t *testing.T, p simulation.Plan) int {
	failed := 0
	for range *runs {
		r := simulation.Run(t, p)
		fmt.Println(r)
		if len(r.Violations) > 0 {
			if failed++; failed == 1 && *shrink > 0 && *plan == "" {
				report(t, p, r)
			}
		}
	}
	if failed > 0 {
		fmt.Printf("%d of %d runs broke a promise\n", failed, *runs)
		return 1
	}
	return 0
}

// report cuts a plan that fails down, and prints what is left.
func report(t *testing.T, p simulation.Plan, r simulation.Report) {
	small, said := simulation.Shrink(t, p, r.Violations[0].Promise, *shrink)
	fmt.Println("a smaller plan that fails, for -plan:")
	print(small)
	fmt.Println(said)
}

// many runs the seeds.
func many(t *testing.T) int {
	began := time.Now()
	var next atomic.Uint64
	next.Store(*from)
	var mu sync.Mutex
	var sum simulation.Report
	done, failed := 0, 0
	stop := atomic.Bool{}
	var all sync.WaitGroup
	for range *procs {
		all.Go(func() {
			for !stop.Load() && (*within == 0 || time.Since(began) < *within) {
				seed := next.Add(1) - 1
				if seed >= *from+*seeds {
					return
				}
				p := simulation.Draw(seed)
				r := simulation.Run(t, p)
				mu.Lock()
				done++
				sum.Add(r)
				if *loud || len(r.Violations) > 0 {
					fmt.Printf("seed %d: %v\n", seed, r)
				}
				if done%500 == 0 {
					fmt.Printf("%d seeds, %d failed, %v\n", done, failed, time.Since(began).Round(time.Second))
				}
				if len(r.Violations) > 0 {
					failed++
					fmt.Println(simulation.Command(seed))
					if !*goOn && !stop.Swap(true) {
						report(t, p, r)
					}
				}
				mu.Unlock()
			}
		})
	}
	all.Wait()
	fmt.Printf("%d seeds from %d on, %d failed, in %v: %v\n", done, *from, failed, time.Since(began).Round(time.Second), sum)
	if failed > 0 {
		return 1
	}
	return 0
}
