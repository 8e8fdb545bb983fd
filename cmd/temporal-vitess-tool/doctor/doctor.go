// Package doctor looks at a running set-up of Temporal's keyspaces on Vitess and says what is not as it has to be. It
// only reads: on vtgate, on each Vitess shard, on vtctld and on the HTTP pages of vtgate and the vttablets.
//
// What it looks at is the list in checks.go. The checks are independent of each other: one that fails or cannot be done
// does not stop the others, except that nothing can be seen without vtgate.
package doctor

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/server/common/auth"

	"github.com/temporal-vitess/temporal-vitess/vschema"
	"github.com/temporal-vitess/temporal-vitess/vschema/live"
)

// Config says what to look at, and what Temporal will ask of it.
type Config struct {
	// Checks are the names of those to do, in any order. None means all.
	Checks []string
	// Open connects to vtgate, with sessions as the plugin's, and to vtctld where there is one.
	Open func(context.Context) (*live.Vitess, error)
	// Address is vtgate's host:port, as the operator gave it.
	Address string
	// TLS is nil where the connection to vtgate is not encrypted.
	TLS *auth.TLS
	// Keyspaces are their names.
	Keyspaces map[vschema.Role]string
	// Profile of the visibility keyspace.
	Profile vschema.Profile
	// VTGateHTTP is the host:port of vtgate's status pages, empty if not known.
	VTGateHTTP string

	// MaxConns and VisibilityMaxConns are the maxConns of the two stores in Temporal's configuration.
	MaxConns, VisibilityMaxConns int
	// Services is the number of Temporal services that run: frontends, histories, matchings and workers. Each has its own
	// connection pools, also where several run in one process.
	Services int
	// MaxRows is the plugin's option vitess_max_rows.
	MaxRows int
	// HistoryShards is the number of history shards. 0 takes that of the running cluster.
	HistoryShards int
	// Replicas is how many replicas each Vitess shard has to have beside its primary.
	Replicas int
	// Full reads the task queues of all task rows instead of a sample.
	Full bool
	// Now is this machine's clock.
	Now func() time.Time
}

// Status is the outcome of a check.
type Status string

// The outcomes, from the best to the worst.
const (
	// Pass is as it has to be.
	Pass Status = "PASS"
	// Skip cannot be seen from here; the finding says what it takes.
	Skip Status = "SKIP"
	// Warn works, but costs speed, safety or capacity.
	Warn Status = "WARN"
	// Fail breaks Temporal or its data, now or under load.
	Fail Status = "FAIL"
)

var severity = map[Status]int{Pass: 0, Skip: 1, Warn: 2, Fail: 3}

// Finding is what one check yields.
type Finding struct {
	// Check is the name of the check, and its anchor in the documentation.
	Check  string `json:"check"`
	Title  string `json:"title"`
	Status Status `json:"status"`
	// Found is what was seen, the worst first.
	Found []Observation `json:"found"`
	Why   string        `json:"why"`
	Fix   string        `json:"fix"`
	Docs  string        `json:"docs"`
}

// Observation is one thing that a check saw.
type Observation struct {
	Status Status `json:"status"`
	Text   string `json:"text"`
	// Where are the Vitess shards or tablets of which it is true, such as "temporal/-80". It is empty where the whole
	// set-up is meant.
	Where []string `json:"where,omitempty"`
}

// documentation is the page with an anchor for each check.
const documentation = "https://github.com/temporal-vitess/temporal-vitess/blob/main/docs/tool/doctor.md#"

// checkTimeout is for a check that waits for a server which does not answer.
const checkTimeout = time.Minute

// Run does the checks in their order and hands each finding to report as soon as it is there. Reachability and keyspaces
// are looked at in any case, and reported if they fail. It returns an error for a
// check or profile that does not exist, and that of the context if it ends.
func Run(ctx context.Context, cfg Config, report func(Finding)) error {
	for _, name := range cfg.Checks {
		if !slices.ContainsFunc(checks, func(c check) bool { return c.name == name }) {
			return fmt.Errorf("there is no check %q; there are %s", name, strings.Join(Names(), ", "))
		}
	}
	e := &examination{Config: cfg, placements: map[vschema.Role]*vschema.Keyspace{}}
	for _, role := range vschema.Roles() {
		var err error
		if e.placements[role], err = vschema.Load(role, cfg.Profile); err != nil {
			return err
		}
	}
	defer e.close()
	for _, check := range checks {
		wanted := len(cfg.Checks) == 0 || slices.Contains(cfg.Checks, check.name)
		if !wanted && check.name != reachability && check.name != keyspaces {
			continue
		}
		finding := e.perform(ctx, check)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if wanted || finding.Status == Fail { // the checks that the others build on, too
			report(finding)
		}
	}
	return nil
}

// Names returns the names of all checks, in the order in which they run.
func Names() []string {
	var names []string
	for _, check := range checks {
		names = append(names, check.name)
	}
	return names
}

// examination is one run. Its checks run one after the other.
type examination struct {
	Config
	// placements are the VSchemas that the keyspaces should have.
	placements map[vschema.Role]*vschema.Keyspace
	// vitess is nil until the first check, reachability, has opened it.
	vitess *live.Vitess
	// vitessShards of the keyspaces that exist.
	vitessShards map[vschema.Role][]string
	// unserved are the Vitess shards without a primary, which are not among vitessShards.
	unserved map[vschema.Role][]string
	// structures of the Vitess shards, by their names; nil until a check has asked for them.
	structures map[vschema.Role]map[string]structure
}

func (e *examination) close() {
	if e.vitess != nil {
		_ = e.vitess.Close()
	}
}

func (e *examination) perform(ctx context.Context, check check) Finding {
	if !e.Full {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, checkTimeout)
		defer cancel()
	}
	seen := newObservations()
	if e.vitess == nil && check.name != reachability {
		seen.skip("vtgate is not reached, see %s", reachability)
	} else if err := check.run(ctx, e, seen); err != nil {
		seen.fail("the check itself failed: %v", err)
	}
	if len(*seen.list) == 0 {
		seen.skip("there is nothing to look at: see %s", keyspaces)
	}
	found := seen.merged()
	return Finding{
		Check:  check.name,
		Title:  check.title,
		Status: found[0].Status,
		Found:  found,
		Why:    check.why,
		Fix:    check.fix,
		Docs:   documentation + check.name,
	}
}

// observations collects what a check sees.
type observations struct {
	// where is the Vitess shard or tablet that is looked at, empty for the whole set-up.
	where string
	list  *[]Observation
}

func newObservations() *observations { return &observations{list: &[]Observation{}} }

// at returns a view of the same observations, for those of one Vitess shard or tablet.
func (o *observations) at(where string) *observations {
	return &observations{where: where, list: o.list}
}

func (o *observations) add(status Status, format string, arguments ...any) {
	observation := Observation{Status: status, Text: fmt.Sprintf(format, arguments...)}
	if o.where != "" {
		observation.Where = []string{o.where}
	}
	*o.list = append(*o.list, observation)
}

func (o *observations) pass(format string, arguments ...any) { o.add(Pass, format, arguments...) }
func (o *observations) skip(format string, arguments ...any) { o.add(Skip, format, arguments...) }
func (o *observations) warn(format string, arguments ...any) { o.add(Warn, format, arguments...) }
func (o *observations) fail(format string, arguments ...any) { o.add(Fail, format, arguments...) }

// good adds an observation if there is none yet: nothing is wrong.
func (o *observations) good(format string, arguments ...any) {
	if len(*o.list) == 0 {
		o.pass(format, arguments...)
	}
}

// merged returns the observations, the worst first, and the same in several places as one.
func (o *observations) merged() []Observation {
	var found []Observation
	for _, observation := range *o.list {
		same := slices.IndexFunc(found, func(f Observation) bool {
			return f.Status == observation.Status && f.Text == observation.Text
		})
		if same < 0 {
			found = append(found, observation)
		} else {
			found[same].Where = append(found[same].Where, observation.Where...)
		}
	}
	slices.SortStableFunc(found, func(a, b Observation) int { return cmp.Compare(severity[b.Status], severity[a.Status]) })
	return found
}
