package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"go.temporal.io/sdk/client"
)

// placement says where vtgate stands between Temporal and the vttablets.
type placement struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Round trip times.
	ToVTGate   time.Duration `json:"-"`
	ToVTTablet time.Duration `json:"-"`
}

// distance is the round trip time between Temporal and the vttablets.
func (p placement) distance() time.Duration { return p.ToVTGate + p.ToVTTablet }

// farAway is the round trip time between Temporal and the vttablets, but for the first placement.
const farAway = time.Millisecond

var placements = []placement{
	{"all near", "no distance", 0, 0},
	{"(near, far)", "vtgate beside Temporal", 0, farAway},
	{"(half, half)", "vtgate halfway", farAway / 2, farAway / 2},
	{"(far, near)", "vtgate beside the vttablets", farAway, 0},
}

// commits says what a commit waits for.
type commits struct {
	Name  string `json:"name"`
	Title string `json:"title"`
	// Durable ones flush, and wait for a replica at that round trip time.
	Durable   bool          `json:"durable"`
	ToReplica time.Duration `json:"-"`
}

var (
	durableCommits = commits{
		"replica near", "Commits that flush and wait for a replica", true, 0,
	}
	kindsOfCommits = []commits{
		{"no flush", "Commits that do not flush", false, 0},
		durableCommits,
		{"replica far", "Commits that flush and wait for a replica at a distance", true, farAway},
	}
)

// placedConfigurations use the same vtgate. One Vitess shard, since a history shard has no more.
var placedConfigurations = []configuration{
	{Name: "mysql8", Title: "upstream's plugin on an unsharded keyspace", Stock: true},
	{Name: "vitess", Title: "the plugin on sharded keyspaces, of 1 Vitess shard each", VitessShards: 1},
}

// placedOperations are those that are measured.
var placedOperations = []string{"create workflow", "update workflow", "get workflow", "add 3 history tasks"}

// Whole workflows run one at a time, since the CPUs of one machine are what limits several; so many as there is time for.
const placedWorkflows = 15

// placementBench measures how the place of vtgate, and commits that flush and wait for a replica, change operations.
type placementBench struct {
	settings
	distributed *distributed
	subjects    []*subject
	progress    io.Writer
	results     *placementResults
}

// measurePlacements measures, and writes its report into the folder.
func measurePlacements(ctx context.Context, operations []operation, withServer bool, folder string) (err error) {
	operations = slices.DeleteFunc(operations, func(o operation) bool { return !slices.Contains(placedOperations, o.Name) })
	if len(operations) == 0 && !withServer {
		return fmt.Errorf("-operations: with -placement only these are measured: %s", strings.Join(append(placedOperations, wholeWorkflow), ", "))
	}
	b := &placementBench{settings: chosenSettings(), progress: os.Stderr}
	b.Workflows, b.WorkflowsAtOnce = min(b.Workflows, placedWorkflows), 1
	b.results = newPlacementResults(b.settings, operations)
	if b.distributed, err = startDistributed(ctx, b.progress); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	for i, c := range placedConfigurations {
		s, err := openSubject(ctx, b.distributed, c, int32((i+1)*historyShardsPerSubject), 1, 1)
		if err != nil {
			return err
		}
		b.subjects = append(b.subjects, s)
	}
	for _, operation := range operations {
		if err := b.oneCaller(ctx, operation); err != nil {
			return err
		}
	}
	if withServer {
		for _, s := range b.subjects {
			if err := b.wholeWorkflows(ctx, s); err != nil {
				return fmt.Errorf("%s with %s: %w", wholeWorkflow, s.Name, err)
			}
		}
	}
	return b.results.write(folder)
}

func (b *placementBench) close() error {
	var errs []error
	for _, s := range b.subjects {
		errs = append(errs, s.close())
	}
	return errors.Join(append(errs, b.distributed.close())...)
}

// move gives vtgate another place. No call may be under way.
func (b *placementBench) move(s *subject, to placement) {
	s.setDelay(to.ToVTGate)
	b.distributed.setDelay(to.ToVTTablet)
}

func (b *placementBench) oneCaller(ctx context.Context, operation operation) error {
	fmt.Fprintf(b.progress, "%s\n", operation.Name)
	if err := b.distributed.setCommits(ctx, durableCommits); err != nil {
		return err
	}
	prepares := make([]prepare, len(b.subjects))
	for i, s := range b.subjects {
		b.move(s, placements[0])
		var err error
		if prepares[i], err = operation.setUp(ctx, s.callers[0]); err == nil {
			err = b.count(ctx, operation, s, prepares[i])
		}
		if err != nil {
			return failure(operation, s, err)
		}
	}
	type cell struct {
		commits   commits
		placement placement
		subject   *subject
	}
	samples := map[cell][]time.Duration{}
	for round := range b.Rounds {
		for _, commits := range kindsOfCommits {
			if err := b.distributed.setCommits(ctx, commits); err != nil {
				return err
			}
			for _, at := range placements {
				for i := range b.subjects {
					i := (i + round) % len(b.subjects) // nobody is always first
					s := b.subjects[i]
					b.move(s, at)
					durations, err := batch(ctx, prepares[i], b.Batch)
					if err != nil {
						return failure(operation, s, err)
					}
					key := cell{commits, at, s}
					samples[key] = append(samples[key], durations...)
				}
			}
		}
	}
	for _, commits := range kindsOfCommits {
		for _, at := range placements {
			for _, s := range b.subjects {
				durations := samples[cell{commits, at, s}]
				b.results.addTiming(at, commits, newTiming(operation.Name, s, at.distance(), 1, durations, sum(durations)))
			}
		}
	}
	return nil
}

// count counts what one call costs, while commits wait for a replica.
func (b *placementBench) count(ctx context.Context, operation operation, s *subject, prepare prepare) error {
	var before, after served
	counts, err := s.count(ctx, prepare, func(call func() error) (err error) {
		if before, err = b.distributed.served(ctx); err != nil {
			return err
		}
		if err = call(); err != nil {
			return err
		}
		after, err = b.distributed.served(ctx)
		return err
	})
	if err != nil {
		return err
	}
	b.results.Costs = append(b.results.Costs, costResult{
		wireResult: wireResult{Operation: operation.Name, Configuration: s.Name, Counts: counts},
		served:     served{Calls: after.Calls - before.Calls, Commits: after.Commits - before.Commits},
	})
	return nil
}

// wholeWorkflows measures workflows on a Temporal server.
func (b *placementBench) wholeWorkflows(ctx context.Context, s *subject) error {
	fmt.Fprintf(b.progress, "%s, %s\n", wholeWorkflow, s.Name)
	b.move(s, placements[0])
	return runServer(ctx, b.distributed, s, func(c client.Client) error {
		for _, commits := range kindsOfCommits {
			if err := b.distributed.setCommits(ctx, commits); err != nil {
				return err
			}
			for _, at := range placements {
				s.network.SetDelay(at.ToVTGate)
				b.distributed.setDelay(at.ToVTTablet)
				samples, elapsed, err := b.runWorkflows(ctx, c)
				if err != nil {
					return err
				}
				b.results.addTiming(at, commits, newTiming(wholeWorkflow, s, at.distance(), b.WorkflowsAtOnce, samples, elapsed))
			}
		}
		return nil
	})
}
