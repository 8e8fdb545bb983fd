// Package doctor looks at a running set-up of Temporal's keyspaces on Vitess and says what is not as it has to be. It
// only reads: on vtgate, on each Vitess shard, on vtctld and on the HTTP pages of vtgate and the vttablets.
//
// What it looks at is the list in checks.go. The checks are independent of each other: one that fails or cannot be done
// does not stop the others, except that nothing can be seen without vtgate.
package doctor

import (
	"cmp"
	"context"
	"database/sql/driver"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.temporal.io/server/common/auth"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Config says what to look at, and what Temporal will ask of it.
type Config struct {
	// Checks are the names of those to do, in any order. None means all.
	Checks []string
	// VTGate connects to vtgate, with sessions as the plugin's.
	VTGate driver.Connector
	// BareVTGate does without the connectAttributes' system variables, which vtgate checks on a Vitess shard. It is nil if
	// there are none.
	BareVTGate driver.Connector
	// VTCtld is the host:port of vtctld's gRPC, empty where there is none to reach.
	VTCtld string
	// Address is vtgate's host:port, as the operator gave it.
	Address string
	// ConnectAddr is the connectAddr of Temporal's stores: host:port, several with commas between. Empty means Address.
	ConnectAddr string
	// TLS is nil where the connection to vtgate is not encrypted.
	TLS *auth.TLS
	// Keyspaces are their names. Those of main and global are equal where one database, unsharded or on MySQL without
	// Vitess, has both.
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
	e := &examination{Config: cfg}
	if err := e.findHomes(); err != nil {
		return err
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
	// homes are the keyspaces, each once.
	homes []*home
	// vitess is nil until the first check, reachability, has opened it.
	vitess *live.Vitess
	// plain reports that vitess is a MySQL server without Vitess. Its databases stand for the keyspaces.
	plain bool
	// structures of the places that could be read, by their names; nil until a check has asked for them. unread is what is
	// to be said of the others.
	structures map[string]structure
	unread     *observations
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
	} else if e.plain && check.vitess {
		seen.skip("the server is a MySQL without Vitess")
	} else if err := check.run(ctx, e, seen); err != nil {
		seen.fail("the check itself failed: %v", err)
	}
	if len(*seen.list) == 0 {
		seen.skip("there is nothing to look at: see %s", keyspaces)
	}
	found := seen.merged()
	fix := check.fix
	if *seen.fix != "" {
		fix = *seen.fix
	}
	return Finding{
		Check:  check.name,
		Title:  check.title,
		Status: found[0].Status,
		Found:  found,
		Why:    check.why,
		Fix:    fix,
		Docs:   documentation + check.name,
	}
}

// observations collects what a check sees.
type observations struct {
	// where is the Vitess shard or tablet that is looked at, empty for the whole set-up.
	where string
	list  *[]Observation
	fix   *string
}

func newObservations() *observations { return &observations{list: &[]Observation{}, fix: new(string)} }

// at returns a view of the same observations, for those of one Vitess shard or tablet.
func (o *observations) at(where string) *observations {
	return &observations{where: where, list: o.list, fix: o.fix}
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

// advise says how to fix what is seen, in place of what the check says in general.
func (o *observations) advise(fix string) { *o.fix = fix }

// good adds an observation if that many things were looked at, and nothing is wrong with them.
func (o *observations) good(count int, format string, arguments ...any) {
	wrong := slices.ContainsFunc(*o.list, func(seen Observation) bool { return seen.Status == Warn || seen.Status == Fail })
	if count > 0 && !wrong {
		o.pass("%d "+format, append([]any{count}, arguments...)...)
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
			continue
		}
		for _, where := range observation.Where {
			if !slices.Contains(found[same].Where, where) {
				found[same].Where = append(found[same].Where, where)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b Observation) int { return cmp.Compare(severity[b.Status], severity[a.Status]) })
	return found
}
