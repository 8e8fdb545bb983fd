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
		err := runServer(ctx, b.databases, s, func(c client.Client) error {
			for _, delay := range b.Delays {
				s.network.SetDelay(delay)
				samples, elapsed, err := b.runWorkflows(ctx, c)
				if err != nil {
					return err
				}
				b.results.Workflows = append(b.results.Workflows, newTiming(wholeWorkflow, s, delay, b.WorkflowsAtOnce, samples, elapsed))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("%s in configuration %s: %w", wholeWorkflow, s.Name, err)
		}
	}
	return nil
}

// runServer starts a Temporal server, with a worker, that reaches its stores over the network of a subject, and calls
// measure.
func runServer(ctx context.Context, d servers, s *subject, measure func(client.Client) error) (err error) {
	main, visibility := d.configs(s.configuration, serverConnections)
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
	return measure(c)
}

// runWorkflows returns how long each workflow, and all of them, took, after some that fill caches.
func (s settings) runWorkflows(ctx context.Context, c client.Client) (samples []time.Duration, elapsed time.Duration, err error) {
	if _, err := runWorkflows(ctx, c, s.WorkflowsAtOnce, s.WorkflowsAtOnce); err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	samples, err = runWorkflows(ctx, c, s.Workflows, s.WorkflowsAtOnce)
	return samples, time.Since(begin), err
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
