// Command soak lets the faults of package faults happen at random to a Vitess under the load of a Temporal server, until the
// time is over or Ctrl-C. It keeps a log of what each did, and fails if anything was lost or went wrong. `make soak` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/faults"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	length := flag.Duration("for", 2*time.Hour, "no fault begins later than that")
	seed := flag.Uint64("seed", rand.Uint64(), "what the order of the faults follows from; by default another one each time")
	pattern := flag.String("faults", "", "let those faults happen whose names match this regular expression")
	logs := flag.String("logs", "", "existing folder, open to the user nobody, for all logs; by default a new one")
	flag.Parse()
	matching, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-faults: %w", err)
	}
	among := slices.DeleteFunc(faults.Faults(), func(f faults.Fault) bool { return f.Last || !matching.MatchString(f.Name) })
	if len(among) == 0 {
		return fmt.Errorf("-faults %q: no fault that can be followed by others matches", *pattern)
	}
	if *logs == "" {
		if *logs, err = os.MkdirTemp("", "temporal-vitess-soak-"); err != nil {
			return err
		}
		if err := os.Chmod(*logs, 0o777); err != nil { // the processes are not root's
			return err
		}
	}
	file, err := os.Create(filepath.Join(*logs, "soak.log"))
	if err != nil {
		return err
	}
	defer file.Close()
	log := io.MultiWriter(os.Stderr, file)
	fmt.Fprintf(log, "%s on, for %v; -seed %d; the logs are in %s, this one is soak.log\n", time.Now().Format(time.DateTime), *length, *seed, *logs)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // the second Ctrl-C ends all at once
	bed, err := faults.StartBed(ctx, os.Stderr, *logs)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, bed.Stop()) }()
	return soak(ctx, bed, among, rand.New(rand.NewPCG(*seed, 0)), time.Now().Add(*length), log)
}

// soak lets the faults happen, in a new random order each time all have. Its error says what was lost or went wrong.
func soak(ctx context.Context, bed *faults.Bed, among []faults.Fault, random *rand.Rand, end time.Time, log io.Writer) error {
	var results []*faults.Result
	var wrong []error
	known := map[string]bool{} // a stray row is found again after the next fault
	defer func() {
		fmt.Fprintf(log, "\n%s off, after %d faults, %d of them with something wrong\n\n%s", time.Now().Format(time.DateTime), len(results), len(wrong), faults.Totals(results))
	}()
	for {
		random.Shuffle(len(among), func(i, j int) { among[i], among[j] = among[j], among[i] })
		for _, fault := range among {
			if ctx.Err() != nil || time.Now().After(end) {
				return errors.Join(wrong...)
			}
			fmt.Fprintf(log, "\n%s  %d. %s\n", time.Now().Format(time.TimeOnly), len(results)+1, fault.Name)
			result, err := bed.Run(ctx, fault)
			if ctx.Err() != nil {
				return errors.Join(wrong...)
			}
			if err != nil {
				fmt.Fprintf(log, "WRONG: %v\n", err)
				return errors.Join(append(wrong, err)...)
			}
			for _, found := range []*[]string{&result.Lost, &result.Doubled, &result.Wrong, &result.Strays, &result.Defects} {
				*found = slices.DeleteFunc(*found, func(text string) bool {
					before := known[text]
					known[text] = true
					return before
				})
			}
			results = append(results, result)
			fmt.Fprintln(log, result)
			if err := result.Err(); err != nil {
				fmt.Fprintf(log, "WRONG: %v\n", err)
				wrong = append(wrong, err)
			}
		}
	}
}
