package fullcluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster/supervise"
)

// Process is one process of the cluster, to be broken by a test. Its methods may be called from several goroutines.
type Process struct {
	name        string
	supervisor  *supervise.Supervisor
	log         string
	commandLine []string
	// ready returns an error while the process does not do its work yet.
	ready func(context.Context) error

	mu      sync.Mutex
	program *supervise.Program // of the last start
}

// Name says what the process is, as in "vttablet temporal/-80/0".
func (p *Process) Name() string { return p.name }

// Log is the file with what the process has written, which appends when it is started again.
func (p *Process) Log() string { return p.log }

// PID is that of the last start.
func (p *Process) PID() int { return p.current().PID() }

// Alive reports whether the process has not ended. A stopped one has not.
func (p *Process) Alive() bool {
	select {
	case <-p.current().Ended():
		return false
	default:
		return true
	}
}

// Kill sends SIGKILL, and returns when the process has ended.
func (p *Process) Kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.current().Ended()
	return nil
}

// Terminate sends SIGTERM, on which a process finishes what it has begun and ends: Wait waits for that.
func (p *Process) Terminate() error { return p.signal(syscall.SIGTERM) }

// Stop sends SIGSTOP: from then on the process does nothing, but keeps its connections.
func (p *Process) Stop() error { return p.signal(syscall.SIGSTOP) }

// Continue sends SIGCONT, which ends Stop.
func (p *Process) Continue() error { return p.signal(syscall.SIGCONT) }

// Wait returns when the process has ended.
func (p *Process) Wait(ctx context.Context) error {
	select {
	case <-p.current().Ended():
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%s has not ended: %w", p.name, ctx.Err())
	}
}

// Restart starts the process again, with the same ports and data, and returns when it answers; one that has not ended is
// terminated before. A vttablet then may not serve yet, nor vtgates know that it does: see Cluster.WaitServing. A mysqld is
// read-only until vtorc, or vtctldclient SetWritable, makes that of a primary writable.
func (p *Process) Restart(ctx context.Context) error {
	if p.Alive() {
		if err := errors.Join(p.Terminate(), p.Continue()); err != nil && !errors.Is(err, os.ErrProcessDone) {
			return err
		}
		if err := p.Wait(ctx); err != nil {
			return err
		}
	}
	return p.start(ctx, p.commandLine)
}

func (p *Process) current() *supervise.Program {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.program
}

func (p *Process) signal(signal syscall.Signal) error {
	if err := p.current().Signal(signal); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	return nil
}

// start returns when the process is ready.
func (p *Process) start(ctx context.Context, commandLine []string) error {
	program, err := p.supervisor.Run(p.log, p.log, commandLine...)
	if err != nil {
		return err
	}
	p.mu.Lock()
	p.program = program
	p.mu.Unlock()
	err = poll(ctx, func(ctx context.Context) error {
		err := p.ready(ctx)
		select {
		case <-program.Ended():
			return finalError{fmt.Errorf("ended with status %d", program.Status())}
		default:
			return err
		}
	})
	if err != nil {
		return fmt.Errorf("%s: %w\nend of its log:\n%s", p.name, err, tail(p.log))
	}
	return nil
}

// finalError ends poll.
type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// poll repeats try until it succeeds, its error is final, or the context is done: then the last error that is not of the
// context says why.
func poll(ctx context.Context, try func(context.Context) error) error {
	var last error
	for {
		err := try(ctx)
		if err == nil || errors.As(err, &finalError{}) {
			return err
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-time.After(30 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(last, ctx.Err())
		}
	}
}

// tail is the end of a file, with indentation.
func tail(path string) string {
	const keep = 15
	content, err := os.ReadFile(path)
	if err != nil {
		return "  " + err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	return "  " + strings.Join(lines[max(0, len(lines)-keep):], "\n  ")
}

// newProcess is not started yet.
func (c *Cluster) newProcess(name string, ready func(context.Context) error, commandLine ...string) *Process {
	file := strings.NewReplacer(" ", "_", "/", "_").Replace(name) + ".log"
	return &Process{
		name:        name,
		supervisor:  c.supervisor,
		log:         filepath.Join(c.logs, file),
		commandLine: commandLine,
		ready:       ready,
	}
}

// StartProcess runs another program beside the cluster's own, as a process that ends with it, and returns when it is ready.
// Files, which it may read, are written to the cluster's folder, which is also its working folder.
func (c *Cluster) StartProcess(ctx context.Context, name string, files map[string][]byte, ready func(context.Context) error, commandLine ...string) (*Process, error) {
	for file, content := range files {
		if err := os.WriteFile(filepath.Join(c.folder, file), content, 0o644); err != nil {
			return nil, err
		}
	}
	p := c.newProcess(name, ready, commandLine...)
	if err := p.start(ctx, commandLine); err != nil {
		return nil, err
	}
	return p, nil
}
