package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/worker"
	"go.temporal.io/sdk/workflow"

	"github.com/temporal-vitess/temporal-vitess/integration/server"
)

const (
	// wholeWorkflow is what the report calls the workflows on a Temporal server.
	wholeWorkflow = "workflow of three activities"

	benchNamespace      = "bench"
	benchTaskQueue      = "bench"
	serverHistoryShards = 16
	serverConnections   = 20 // of each store, as in Temporal's sample configuration
)

// threeActivities runs three activities one after the other.
func threeActivities(ctx workflow.Context) error {
	ctx = workflow.WithActivityOptions(ctx, workflow.ActivityOptions{StartToCloseTimeout: time.Minute})
	for range 3 {
		if err := workflow.ExecuteActivity(ctx, doNothing).Get(ctx, nil); err != nil {
			return err
		}
	}
	return nil
}

func doNothing(context.Context) error { return nil }

// wholeWorkflows measures workflows from start to close on the real server. Each configuration has its turn of all
// delays: servers that wait for their turn would not be idle.
func (b *bench) wholeWorkflows(ctx context.Context) error {
	for _, s := range b.subjects {
		if !s.RunsServer {
			continue
		}
		fmt.Fprintf(b.progress, "%s, configuration %s\n", wholeWorkflow, s.Name)
		if err := b.runServer(ctx, s); err != nil {
			return fmt.Errorf("%s in configuration %s: %w", wholeWorkflow, s.Name, err)
		}
	}
	return nil
}

func (b *bench) runServer(ctx context.Context, s *subject) (err error) {
	main, visibility := b.databases.configs(s.configuration, serverConnections)
	main.ConnectAddr, visibility.ConnectAddr = s.network.Addr(), s.network.Addr()
	s.network.SetDelay(0)
	temporalServer, err := server.Start(ctx, server.Config{Main: &main, Visibility: &visibility, HistoryShards: serverHistoryShards})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, temporalServer.Stop()) }()
	if err := temporalServer.CreateNamespace(ctx, benchNamespace); err != nil {
		return err
	}
	c, err := temporalServer.Dial(benchNamespace)
	if err != nil {
		return err
	}
	defer c.Close()
	w := worker.New(c, benchTaskQueue, worker.Options{})
	w.RegisterWorkflow(threeActivities)
	w.RegisterActivity(doNothing)
	if err := w.Start(); err != nil {
		return err
	}
	defer w.Stop()
	for _, delay := range b.Delays { // ascending, as SetDelay asks for
		s.network.SetDelay(delay)
		if _, err := runWorkflows(ctx, c, b.WorkflowsAtOnce, b.WorkflowsAtOnce); err != nil { // fills caches
			return err
		}
		begin := time.Now()
		samples, err := runWorkflows(ctx, c, b.Workflows, b.WorkflowsAtOnce)
		if err != nil {
			return err
		}
		b.results.Workflows = append(b.results.Workflows, newTiming(wholeWorkflow, s, delay, b.WorkflowsAtOnce, samples, time.Since(begin)))
	}
	return nil
}

// runWorkflows returns how long each workflow took from its start until the client knew its result.
func runWorkflows(ctx context.Context, c client.Client, count, atOnce int) ([]time.Duration, error) {
	samples := make([]time.Duration, count)
	errs := make([]error, count)
	places := make(chan struct{}, atOnce)
	var running sync.WaitGroup
	for i := range count {
		places <- struct{}{}
		running.Go(func() {
			defer func() { <-places }()
			begin := time.Now()
			run, err := c.ExecuteWorkflow(ctx, client.StartWorkflowOptions{TaskQueue: benchTaskQueue}, threeActivities)
			if err == nil {
				err = run.Get(ctx, nil)
			}
			samples[i], errs[i] = time.Since(begin), err
		})
	}
	running.Wait()
	return samples, errors.Join(errs...)
}
