// Command bench compares Temporal's stores through the plugin on Vitess with what upstream's own plugin does, on a plain
// MySQL and on an unsharded keyspace of Vitess: round trips, statements and time of each operation, one caller at a time
// and many, at several distances from the database. `make bench` runs it, with all on this machine.
//
// All configurations share one mysqld, and one vtgate with its vttablets (vtcombo); they take turns in short pieces. A
// distance is a proxy that delays (package wire); without one, callers talk to the server directly. Compare within a
// run only.
//
// With -placement it measures instead, on a Vitess of many processes, what it means where vtgate stands between Temporal and
// the vttablets: `make bench-placement`.
//
// With -visibility it compares lists and counts of a namespace with 1,000,000 workflows.
//
// BENCH_QUICK=1 takes fewer samples, to try it out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"runtime/pprof"
	"slices"
	"syscall"

	_ "github.com/temporal-vitess/temporal-vitess/plugin"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	folder := flag.String("out", ".tools/bench", "folder for the report: README.md, results.json and chart.svg, or placement.md and placement.json")
	placement := flag.Bool("placement", false, "measure where vtgate stands, on a Vitess of many processes, and nothing else")
	visibility := flag.Bool("visibility", false, "measure lists and counts of 1,000,000 workflows, and nothing else: visibility.md and visibility.json")
	pattern := flag.String("operations", "", "measure operations that match this regular expression only")
	cpuProfile := flag.String("cpuprofile", "", "file for a CPU profile of this process while there are many callers")
	memProfile := flag.String("memprofile", "", "file for a profile of all allocations of this process")
	flag.Parse()
	matching, err := regexp.Compile(*pattern)
	if err != nil {
		return fmt.Errorf("-operations: %w", err)
	}
	operations := slices.DeleteFunc(operations(), func(o operation) bool { return !matching.MatchString(o.Name) })
	withServer := matching.MatchString(wholeWorkflow)
	if len(operations) == 0 && !withServer {
		return fmt.Errorf("-operations: no operation matches %q", *pattern)
	}
	// What waits for a delay holds one, see package wire.
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0) + 1)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if *visibility {
		return measureVisibility(ctx, *folder)
	}
	if *placement {
		if *cpuProfile != "" || *memProfile != "" {
			return errors.New("-cpuprofile and -memprofile are for what is measured without -placement")
		}
		return measurePlacements(ctx, operations, withServer, *folder)
	}
	b, err := newBench(ctx, operations)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	if err := b.oneCaller(ctx, operations); err != nil {
		return err
	}
	if err := withCPUProfile(*cpuProfile, func() error { return b.manyCallers(ctx, operations) }); err != nil {
		return err
	}
	if i := slices.IndexFunc(operations, func(o operation) bool { return o.Name == isolationOperation }); i >= 0 {
		if err := b.isolation(ctx, operations[i]); err != nil {
			return err
		}
	}
	if withServer {
		if err := b.wholeWorkflows(ctx); err != nil {
			return err
		}
	}
	if err := writeMemProfile(*memProfile); err != nil {
		return err
	}
	return errors.Join(b.results.write(*folder), b.databases.checkRoutes(ctx))
}

func withCPUProfile(path string, do func() error) error {
	if path == "" {
		return do()
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return errors.Join(err, file.Close())
	}
	err = do()
	pprof.StopCPUProfile()
	return errors.Join(err, file.Close())
}

func writeMemProfile(path string) error {
	if path == "" {
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(file, 0), file.Close())
}
