package migrate

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Command is what a check stands before.
type Command string

// The commands that are checked first.
const (
	Start    Command = "start"
	Switch   Command = "switch"
	Reverse  Command = "reverse"
	Complete Command = "complete"
	Cancel   Command = "cancel"
)

// Check looks whether something stands in the way of a command. It changes nothing.
type Check struct {
	Name, Title, Why, Fix string
	// Before are the commands that it stands before.
	Before []Command
	// Final tells that nobody can mean to go on in spite of it.
	Final bool

	run func(context.Context, *inspection, *seen) error
}

// checks are in the order in which they run: each has a file of its own.
var checks = []Check{
	vitessVersion, tabletsServe, binlog, retention, rights, privilegedUser, tables, columns, bufferedEvents, emptyTargets,
	streamsRun, lagIsShort, compared, openTransactions, directConnections, oldNames, finalNames, rangeHash, buffering,
}

// CheckOptions say what checks need to know beside the migration.
type CheckOptions struct {
	// VTGateHTTP are the host:port of the status pages of all vtgates.
	VTGateHTTP []string
	// Watch is how long it is watched whether anybody uses a name: longer than servers take between two heartbeats.
	Watch time.Duration
	// MaxLag is how far the streams may be behind.
	MaxLag time.Duration
	// KeepRules is that of [Migration.Cancel].
	KeepRules bool
}

// Finding is what a check yields.
type Finding struct {
	Check string `json:"check"`
	Title string `json:"title"`
	// Problems stop the command, Notes do not.
	Problems []string `json:"problems,omitempty"`
	Notes    []string `json:"notes,omitempty"`
	Why      string   `json:"why"`
	Fix      string   `json:"fix"`
	// Final tells that it cannot be skipped, Skipped that it was.
	Final   bool `json:"final,omitempty"`
	Skipped bool `json:"skipped,omitempty"`
}

// inspection is what the checks of one command look at.
type inspection struct {
	*Migration
	CheckOptions
	states []State
}

// seen collects what a check sees.
type seen struct{ problems, notes []string }

func (s *seen) problem(format string, arguments ...any) {
	s.problems = append(s.problems, fmt.Sprintf(format, arguments...))
}

func (s *seen) note(format string, arguments ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, arguments...))
}

// Inspect does the checks that stand before a command, and reports what each yields; those in skip are not done. An error names a
// check that there is not, or that cannot be skipped.
func (m *Migration) Inspect(ctx context.Context, command Command, skip []string, options CheckOptions, report func(Finding)) error {
	for _, name := range skip {
		i := slices.IndexFunc(checks, func(c Check) bool { return c.Name == name })
		if i < 0 {
			return fmt.Errorf("there is no check %q; there are %s", name, strings.Join(checkNames(), ", "))
		}
		if checks[i].Final {
			return fmt.Errorf("the check %s cannot be skipped: %s", name, checks[i].Why)
		}
	}
	states, err := m.State(ctx)
	i := &inspection{Migration: m, CheckOptions: options, states: states}
	if err != nil { // most likely since a primary is down, which one check tells
		found := &seen{}
		if tabletsServe.run(ctx, i, found) == nil && len(found.problems) > 0 {
			report(tabletsServe.finding(found))
			return nil
		}
		return err
	}
	for _, check := range checks {
		if !slices.Contains(check.Before, command) {
			continue
		}
		found := &seen{}
		skipped := slices.Contains(skip, check.Name)
		if !skipped {
			if err := check.run(ctx, i, found); err != nil {
				if ctx.Err() != nil {
					return ctx.Err()
				}
				found.problem("it could not be seen: %v", err)
			}
		}
		finding := check.finding(found)
		finding.Skipped = skipped
		report(finding)
	}
	return nil
}

func (c Check) finding(found *seen) Finding {
	return Finding{Check: c.Name, Title: c.Title, Problems: found.problems, Notes: found.notes, Why: c.Why, Fix: c.Fix, Final: c.Final}
}

func checkNames() []string {
	var names []string
	for _, check := range checks {
		names = append(names, check.Name)
	}
	return names
}

// keyspaces are those that the moves come from, and those that they go to, each once.
func (i *inspection) keyspaces() (sources, targets []string) {
	if len(i.states) == 0 {
		return i.Sources, i.targets()
	}
	for _, state := range i.states {
		if !slices.Contains(sources, state.Source) {
			sources = append(sources, state.Source)
		}
		if !slices.Contains(targets, state.Target) {
			targets = append(targets, state.Target)
		}
	}
	return sources, targets
}

// eachSource calls do with each primary of the sources.
func (i *inspection) eachSource(ctx context.Context, do func(primary) error) error {
	sources, _ := i.keyspaces()
	for _, source := range sources {
		primaries, err := i.primaries(ctx, source)
		if err != nil {
			return err
		}
		for _, on := range primaries {
			if err := do(on); err != nil {
				return err
			}
		}
	}
	return nil
}
