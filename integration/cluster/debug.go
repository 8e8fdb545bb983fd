package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
)

// Vars are counters since the start of the cluster, from /debug/vars.
type Vars struct {
	// SingleCommits and MultiCommits count the committed transactions that took part on one Vitess shard and on several
	// (CommitModeTimings). Statements outside of an explicit transaction are not in here.
	SingleCommits, MultiCommits int64
	// ReservedConnections counts the connections to mysqld that a vttablet reserved for one session: those in use
	// (UserActiveReservedCount) and those given back (ReservedConnections).
	ReservedConnections int64
	// Executions counts what vtgate executed by statement and plan type, as in "SELECT.Passthrough" or "INSERT.MultiShard"
	// (QueryExecutions).
	Executions map[string]int64
	// Raw is all of /debug/vars.
	Raw map[string]json.RawMessage
}

// Vars reads the counters of vtgate and of all vttablets.
func (c *Cluster) Vars(ctx context.Context) (Vars, error) {
	v := Vars{Executions: map[string]int64{}}
	if err := Debug(ctx, c.HTTPAddr(), "/debug/vars", &v.Raw); err != nil {
		return Vars{}, err
	}
	var commits struct {
		Histograms map[string]struct{ Count int64 }
	}
	var released struct{ TotalCount int64 }
	var reserved, executions map[string]int64
	for name, target := range map[string]any{
		"CommitModeTimings":       &commits,
		"ReservedConnections":     &released,
		"UserActiveReservedCount": &reserved,
		"QueryExecutions":         &executions,
	} {
		if err := json.Unmarshal(v.Raw[name], target); err != nil {
			return Vars{}, fmt.Errorf("%s in vtcombo's /debug/vars: %w", name, err)
		}
	}
	v.SingleCommits = commits.Histograms["Single"].Count
	v.MultiCommits = commits.Histograms["Multi"].Count
	v.ReservedConnections = released.TotalCount
	for _, count := range reserved { // by vttablet and user
		v.ReservedConnections += count
	}
	for key, count := range executions { // "SELECT.EqualUnique.PRIMARY"
		v.Executions[key[:strings.LastIndexByte(key, '.')]] += count
	}
	return v, nil
}

// QueryPlan is a plan in vtgate's cache. The cache is bounded, and starts anew with each change of schema or VSchema.
type QueryPlan struct {
	Original     string // the statement, normalised: literals are bind variables
	Type         string // of the plan: "Passthrough" to one Vitess shard, "Scatter"... ; "MultiShard" for any sharded INSERT
	QueryType    string // "SELECT", "INSERT", ...
	TablesUsed   []string
	ExecCount    uint64
	ShardQueries uint64 // statements sent to Vitess shards by all executions
	Errors       uint64
}

// QueryPlans reads vtgate's plan cache, in no particular order.
func (c *Cluster) QueryPlans(ctx context.Context) ([]QueryPlan, error) {
	var byHash map[string]QueryPlan
	if err := Debug(ctx, c.HTTPAddr(), "/debug/query_plans", &byHash); err != nil {
		return nil, err
	}
	plans := make([]QueryPlan, 0, len(byHash))
	for _, plan := range byHash {
		plans = append(plans, plan)
	}
	return plans, nil
}

// trackedTables are the tables of a keyspace whose columns the vtgate with that HTTP address knows.
func trackedTables(ctx context.Context, httpAddr, keyspace string) (map[string]bool, error) {
	var vschema struct {
		Keyspaces map[string]struct {
			Tables map[string]struct{ Columns []json.RawMessage }
		}
	}
	if err := Debug(ctx, httpAddr, "/debug/vschema", &vschema); err != nil {
		return nil, err
	}
	tracked := map[string]bool{}
	for name, table := range vschema.Keyspaces[keyspace].Tables {
		if len(table.Columns) > 0 {
			tracked[name] = true
		}
	}
	return tracked, nil
}

// Debug reads a page of JSON, such as /debug/vars, of the program of Vitess with that HTTP address.
func Debug(ctx context.Context, httpAddr, path string, target any) error {
	url := "http://" + httpAddr + path
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, response.Status)
	}
	if err := json.NewDecoder(response.Body).Decode(target); err != nil {
		return fmt.Errorf("%s: %w", url, err)
	}
	return nil
}
