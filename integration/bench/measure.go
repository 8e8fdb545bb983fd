package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/pprof"
	"slices"
	"sync"
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/bench/wire"
)

// settings are how long is measured.
type settings struct {
	Delays []time.Duration `json:"-"` // ascending
	// With one caller: so many batches of so many calls, for each operation, delay and configuration.
	Rounds int `json:"rounds"`
	Batch  int `json:"batch"`
	// With many callers: so many slots of time, of each operation, delay and configuration.
	Callers    int           `json:"callers"`
	Slots      int           `json:"slots"`
	SlotLength time.Duration `json:"-"`
	// On a Temporal server: so many workflows in all, and at once, for each delay and configuration.
	Workflows       int `json:"workflows"`
	WorkflowsAtOnce int `json:"workflows_at_once"`
}

var (
	thorough = settings{
		Delays: []time.Duration{0, time.Millisecond, 3 * time.Millisecond},
		Rounds: 10, Batch: 8, Callers: 32, Slots: 2, SlotLength: 500 * time.Millisecond,
		Workflows: 200, WorkflowsAtOnce: 8,
	}
	quick = settings{
		Delays: []time.Duration{0, time.Millisecond},
		Rounds: 2, Batch: 4, Callers: 32, Slots: 1, SlotLength: 300 * time.Millisecond,
		Workflows: 16, WorkflowsAtOnce: 8,
	}
)

func chosenSettings() settings {
	if os.Getenv("BENCH_QUICK") == "1" {
		return quick
	}
	return thorough
}

// bench measures all subjects in turn, in short pieces, so that what else the machine does hits all alike.
type bench struct {
	settings
	databases *databases
	subjects  []*subject
	processes processes
	progress  io.Writer
	results   *results
}

// historyShardsPerSubject keeps the history shards of configurations that share keyspaces apart. Those below are for
// Temporal servers.
const historyShardsPerSubject = 1000

func newBench(ctx context.Context, operations []operation) (_ *bench, err error) {
	b := &bench{settings: chosenSettings(), progress: os.Stderr}
	b.results = newResults(b.settings, operations)
	fmt.Fprintln(b.progress, "start the databases")
	if b.databases, err = startDatabases(ctx); err != nil {
		return nil, err
	}
	b.processes = findProcesses(b.databases)
	for i, c := range configurations {
		s, err := openSubject(ctx, b.databases, c, int32((i+1)*historyShardsPerSubject), b.Callers, b.Callers)
		if err != nil {
			return nil, errors.Join(err, b.close())
		}
		b.subjects = append(b.subjects, s)
	}
	return b, nil
}

func (b *bench) close() error {
	var errs []error
	for _, s := range b.subjects {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, b.databases.Stop())...)
}

// oneCaller counts what the operations put on the wire, and measures them with one caller at a time.
func (b *bench) oneCaller(ctx context.Context, operations []operation) error {
	for _, operation := range operations {
		fmt.Fprintf(b.progress, "%s, 1 caller\n", operation.Name)
		prepares := make([]prepare, len(b.subjects))
		for i, s := range b.subjects {
			var err error
			s.setDelay(0)
			var counts wire.Counts
			if prepares[i], err = operation.setUp(ctx, s.callers[0]); err == nil {
				counts, err = s.count(ctx, prepares[i], func(call func() error) error { return call() })
			}
			switch {
			case err == nil:
				b.results.addWire(operation, s, counts)
			case s.mayRefuse():
				prepares[i] = nil
			default:
				return failure(operation, s, err)
			}
		}
		for _, delay := range b.Delays {
			samples := make([][]time.Duration, len(b.subjects))
			for round := range b.Rounds {
				for i := range b.subjects {
					i := (i + round) % len(b.subjects) // nobody is always first
					s := b.subjects[i]
					if prepares[i] == nil {
						continue
					}
					s.setDelay(delay)
					durations, err := batch(ctx, prepares[i], b.Batch)
					if err != nil {
						return failure(operation, s, err)
					}
					samples[i] = append(samples[i], durations...)
				}
			}
			for i, s := range b.subjects {
				if prepares[i] != nil {
					b.results.addTiming(operation, s, delay, 1, samples[i], sum(samples[i]))
				}
			}
		}
	}
	return nil
}

// batch runs and times calls, after one that is not timed.
func batch(ctx context.Context, prepare prepare, calls int) ([]time.Duration, error) {
	if err := one(ctx, prepare); err != nil {
		return nil, err
	}
	var samples []time.Duration
	for range calls {
		call, err := prepare(ctx)
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := call(ctx); err != nil {
			return nil, err
		}
		samples = append(samples, time.Since(begin))
	}
	return samples, nil
}

// manyCallers measures the busy operations with all callers at once, and the CPU time that they take at no delay.
func (b *bench) manyCallers(ctx context.Context, operations []operation) error {
	for _, operation := range operations {
		if !operation.Busy {
			continue
		}
		fmt.Fprintf(b.progress, "%s, %d callers\n", operation.Name, b.Callers)
		prepares := make([][]prepare, len(b.subjects))
		for i, s := range b.subjects {
			s.setDelay(0)
			for _, caller := range s.callers {
				prepare, err := operation.setUp(ctx, caller)
				if err == nil {
					err = one(ctx, prepare)
				}
				if err != nil && s.mayRefuse() {
					break
				}
				if err != nil {
					return failure(operation, s, err)
				}
				prepares[i] = append(prepares[i], prepare)
			}
		}
		for _, delay := range b.Delays {
			samples := make([][]time.Duration, len(b.subjects))
			elapsed := make([]time.Duration, len(b.subjects))
			for round := range b.Slots {
				for i := range b.subjects {
					i := (i + round) % len(b.subjects)
					s := b.subjects[i]
					if prepares[i] == nil {
						continue
					}
					s.setDelay(delay)
					if err := together(prepares[i], func(prepare prepare) error { return one(ctx, prepare) }); err != nil {
						return failure(operation, s, err)
					}
					before := b.processes.cpuTimes()
					begin := time.Now()
					durations, err := slot(ctx, operation, s, prepares[i], begin.Add(b.SlotLength))
					if err != nil {
						return failure(operation, s, err)
					}
					elapsed[i] += time.Since(begin)
					samples[i] = append(samples[i], durations...)
					if delay == 0 {
						b.results.addCPU(s, len(durations), before, b.processes.cpuTimes())
					}
				}
			}
			for i, s := range b.subjects {
				if prepares[i] != nil {
					b.results.addTiming(operation, s, delay, b.Callers, samples[i], elapsed[i])
				}
			}
		}
	}
	return nil
}

// slot runs calls of all callers until the end. Profiles tell configurations and operations apart by label.
func slot(ctx context.Context, operation operation, s *subject, prepares []prepare, end time.Time) ([]time.Duration, error) {
	var mutex sync.Mutex
	var all []time.Duration
	var err error
	pprof.Do(ctx, pprof.Labels("configuration", s.Name, "operation", operation.Name), func(ctx context.Context) {
		err = together(prepares, func(prepare prepare) error {
			var samples []time.Duration
			defer func() {
				mutex.Lock()
				defer mutex.Unlock()
				all = append(all, samples...)
			}()
			for time.Now().Before(end) {
				call, err := prepare(ctx)
				if err != nil {
					return err
				}
				begin := time.Now()
				if err := call(ctx); err != nil {
					return err
				}
				samples = append(samples, time.Since(begin))
			}
			return nil
		})
	})
	return all, err
}

// together runs do for all callers at once, and returns the first of their errors.
func together(prepares []prepare, do func(prepare) error) error {
	errs := make([]error, len(prepares))
	var callers sync.WaitGroup
	for i, prepare := range prepares {
		callers.Go(func() { errs[i] = do(prepare) })
	}
	callers.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func failure(operation operation, s *subject, err error) error {
	return fmt.Errorf("%s in configuration %s: %w", operation.Name, s.Name, err)
}

func sum(durations []time.Duration) time.Duration {
	var total time.Duration
	for _, duration := range durations {
		total += duration
	}
	return total
}

// percentile returns the smallest of the durations that p percent of them do not exceed, 0 if there are none.
func percentile(durations []time.Duration, p int) time.Duration {
	if len(durations) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(durations))
	return sorted[max(0, (len(sorted)*p+99)/100-1)]
}
