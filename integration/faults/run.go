package faults

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
)

const (
	// calmCalls are how many of the load's calls have to be acknowledged before a fault, and again after it.
	calmCalls = 30
	// progressTimeout is how long these may take.
	progressTimeout = 2 * time.Minute
)

// Result is what came of a load while a fault happened to it.
type Result struct {
	Fault string
	// Workflows counts the acknowledged starts, Calls the acknowledged calls.
	Workflows, Calls int
	// Lost and Doubled are acknowledged effects that are missing in a workflow's state, or are there twice. Wrong is what
	// ended in another way than it had to. Strays are rows that belong to no workflow, or are on the wrong Vitess shard.
	// Defects are what the plugin calls so. All of these are to be empty.
	Lost, Doubled, Wrong, Strays, Defects []string
	// Abandoned counts histories of starts that failed, which upstream leaves to its scavenger.
	Abandoned int
	// Hurt and Healthy are the calls since the fault began, on history shards of Vitess shards that it hurts and of others.
	// Updates of workflows are apart: each waits for a worker, and so for a task queue, whose partitions are on all Vitess shards.
	Hurt, Healthy, Updates Tally
	// The longest time without an acknowledged write on the hurt Vitess shards, or on all if none is hurt: of a plain
	// statement through vtgate, of a transaction of the plugin, and of a call to Temporal.
	Vitess, Plugin, Temporal time.Duration
	// CalmP99 and HealthyP99 are the 99th percentiles of the time of a conditional write through the plugin: before this fault
	// and those that the bed had earlier, and since it began on Vitess shards that are not hurt; 0 if all are.
	CalmP99, HealthyP99 time.Duration
	// Errors are the plugin's errors by class.
	Errors map[string]int64
}

// Tally counts calls, with the SDK's retries.
type Tally struct{ All, Failed int }

// Err returns an error that says what was lost or went wrong.
func (r *Result) Err() error {
	var errs []error
	for _, found := range []struct {
		what  string
		items []string
	}{
		{"lost", r.Lost}, {"doubled", r.Doubled}, {"wrong", r.Wrong}, {"stray rows", r.Strays}, {"defects", r.Defects},
	} {
		const shown = 10
		if len(found.items) > 0 {
			errs = append(errs, fmt.Errorf("%s: %d %s:\n  %s", r.Fault, len(found.items), found.what, strings.Join(found.items[:min(shown, len(found.items))], "\n  ")))
		}
	}
	return errors.Join(errs...)
}

// Run lets a fault happen to a load. The error says that the fault could not be made or repaired; what it did is in the
// result.
func (b *Bed) Run(ctx context.Context, fault Fault) (_ *Result, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("fault %q: %w", fault.Name, err)
		}
	}()
	b.began = time.Now()
	hurt, err := b.hurtHistoryShards(fault)
	if err != nil {
		return nil, err
	}
	b.log.take()
	errorsBefore := b.server.Errors()
	l, err := b.startLoad(ctx, fault.Pace)
	if err != nil {
		return nil, err
	}
	defer l.close()
	registers, err := b.startRegisters(ctx)
	if err != nil {
		return nil, err
	}
	probe, err := b.startProbe(ctx)
	if err != nil {
		return nil, err
	}

	b.step("the load runs")
	err = l.Progress(ctx, calmCalls)
	b.step("calm is over: " + fault.Name)
	began := time.Now()
	if err == nil {
		err = fault.Break(ctx, b, l)
	}
	b.step("the fault is over, or repaired")
	if err == nil {
		err = b.WaitServing(ctx)
	}
	b.step("all tablets serve")
	if err == nil {
		err = b.awaitReplicas(ctx)
	}
	b.step("all replicas follow")
	if err == nil {
		err = l.Progress(ctx, calmCalls)
	}
	b.step("the load went on")
	err = errors.Join(err, l.stop(ctx))
	probe.stop()
	violations := registers.stop()
	if err != nil {
		return nil, err
	}
	b.step("all workflows have ended")

	r := &Result{Fault: fault.Name, Wrong: violations, Defects: b.log.take(), Errors: b.server.Errors()}
	for class, count := range errorsBefore {
		r.Errors[class] -= count
	}
	maps.DeleteFunc(r.Errors, func(_ string, count int64) bool { return count == 0 })
	for _, c := range l.operations {
		if c.err == nil {
			r.Calls++
		}
		if c.ended.Before(began) {
			continue
		}
		tally := &r.Healthy
		switch {
		case c.what == updating:
			tally = &r.Updates
		case hurt[c.historyShard]:
			tally = &r.Hurt
		}
		tally.All++
		if c.err != nil {
			tally.Failed++
		}
	}
	for _, calls := range [][]call{l.operations, registers.calls, probe.calls, probe.pluginsCalls} {
		tellFailures(b.progress, calls, began, hurt)
	}
	measured := func(historyShard int32) bool { return hurt[historyShard] || fault.Hurts == NoVitessShard }
	r.Temporal = longestGap(l.operations, began, measured)
	r.Plugin = longestGap(probe.pluginsCalls, began, measured)
	r.Vitess = longestGap(probe.calls, began, measured)
	calm, healthy := durations(registers.calls, began, hurt)
	b.calm = append(b.calm, calm...)
	r.CalmP99, r.HealthyP99 = p99(b.calm), p99(healthy)
	err = l.check(ctx, r)
	b.step("all is checked")
	return r, err
}

// step tells what has been done, with the time since the begin of Run.
func (b *Bed) step(what string) {
	fmt.Fprintf(b.progress, "%5.1f s  %s\n", time.Since(b.began).Seconds(), what)
}

// tellFailures writes a line for each of the first calls that failed, with the time since the fault began: first those on
// history shards of Vitess shards that are not hurt.
func tellFailures(w io.Writer, calls []call, began time.Time, hurt map[int32]bool) {
	const shown, length = 8, 200
	failed := slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return c.err == nil })
	slices.SortStableFunc(failed, func(a, b call) int {
		switch {
		case hurt[a.historyShard] == hurt[b.historyShard]:
			return 0
		case hurt[b.historyShard]:
			return -1
		}
		return 1
	})
	for _, c := range failed[:min(len(failed), shown)] {
		where := "history shard"
		if !hurt[c.historyShard] {
			where = "healthy " + where
		}
		text := c.err.Error()
		fmt.Fprintf(w, "%5.1f s to %.1f s  %s, %s %d: %s\n", c.began.Sub(began).Seconds(), c.ended.Sub(began).Seconds(), c.what, where, c.historyShard, text[:min(len(text), length)])
	}
	if len(failed) > shown {
		fmt.Fprintf(w, "and %d more\n", len(failed)-shown)
	}
}

// Progress returns when so many more calls are acknowledged.
func (l *Load) Progress(ctx context.Context, more int) error {
	ctx, cancel := context.WithTimeout(ctx, progressTimeout)
	defer cancel()
	until := l.acknowledged() + more
	return again(ctx, func() error {
		if now := l.acknowledged(); now < until {
			return fmt.Errorf("%d calls are acknowledged, not yet %d", now, until)
		}
		return nil
	})
}

// hurtHistoryShards are the history shards, the registers and the probes' rows that are on Vitess shards that a fault hurts.
func (b *Bed) hurtHistoryShards(fault Fault) (map[int32]bool, error) {
	hurt := map[int32]bool{}
	for _, place := range []struct{ first, count int32 }{{1, HistoryShards}, {firstRegister, registerCount}, {firstProbe, probeCount}, {firstPluginProbe, probeCount}} {
		for historyShard := place.first; historyShard < place.first+place.count; historyShard++ {
			vitessShard, err := b.vitessShard(historyShard)
			if err != nil {
				return nil, err
			}
			hurt[historyShard] = fault.Hurts == AllVitessShards || fault.Hurts == FirstVitessShard && vitessShard == b.firstVitessShard()
		}
	}
	return hurt, nil
}

// firstVitessShard is the one that most faults hurt.
func (b *Bed) firstVitessShard() string { return b.Shards(keyspace)[0] }

// longestGap returns the longest time without an acknowledged call on the measured history shards, since a fault began.
func longestGap(calls []call, began time.Time, measured func(historyShard int32) bool) time.Duration {
	ends := []time.Time{began}
	for _, c := range calls {
		if c.err == nil && measured(c.historyShard) && c.ended.After(began) {
			ends = append(ends, c.ended)
		}
	}
	slices.SortFunc(ends, time.Time.Compare)
	var longest time.Duration
	for i := 1; i < len(ends); i++ {
		longest = max(longest, ends[i].Sub(ends[i-1]))
	}
	return longest
}

// durations returns how long calls took that ended before a fault began, and the others on history shards that are not hurt.
func durations(calls []call, began time.Time, hurt map[int32]bool) (calm, healthy []time.Duration) {
	for _, c := range calls {
		switch took := c.ended.Sub(c.began); {
		case c.ended.Before(began):
			calm = append(calm, took)
		case !hurt[c.historyShard]:
			healthy = append(healthy, took)
		}
	}
	return calm, healthy
}

// p99 returns the 99th percentile, 0 of none.
func p99(times []time.Duration) time.Duration {
	if len(times) == 0 {
		return 0
	}
	times = slices.Sorted(slices.Values(times))
	return times[len(times)*99/100]
}
