package router

import (
	"fmt"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// This file is all that the router knows beyond the VSchema (which table is where, and its sharding column) and
// upstream's schema (columns and keys).

// Workload is whose work a statement is, as Vitess' throttlers and query logs name it (WORKLOAD_NAME).
type Workload string

// The workloads; [workloadOf] says which tables they have.
const (
	History    Workload = "history"
	Matching   Workload = "matching"
	Metadata   Workload = "metadata"
	Visibility Workload = "visibility"
)

// workloadOf returns the workload of a table from its keyspace and sharding column.
func workloadOf(role vschema.Role, shardingColumn string) Workload {
	switch {
	case role == vschema.Visibility:
		return Visibility
	case role == vschema.Global:
		return Metadata
	case shardingColumn == "shard_id":
		return History
	default: // range_hash, namespace_id
		return Matching
	}
}

// priorities of the workloads for Vitess' transaction throttler (PRIORITY): 0 is never throttled, 100 is first.
var priorities = map[Workload]int{
	Metadata:   0,
	History:    10,
	Matching:   10,
	Visibility: 50,
}

// backgroundPriority is for work that nobody waits for, in any workload: deletes of ranges, and the scavenger's scatter.
const backgroundPriority = 100

// scatterAllowed lists the tables whose SELECTs may ask every Vitess shard where they do not name the sharding
// column, with their priority. Nothing else may.
var scatterAllowed = map[string]struct{ priority int }{
	// ListTaskQueue: the scavenger reads ranges of range_hash, which no vindex maps to one Vitess shard.
	"task_queues":    {backgroundPriority},
	"task_queues_v2": {backgroundPriority},
	// Lists and counts in the profile spread, where a namespace is on every Vitess shard.
	"executions_visibility": {priorities[Visibility]},
}

// ownerColumns are the columns that say whose a row is: they change only as the row changes hands, and its owner knows what they
// hold.
var ownerColumns = map[string]string{
	"shards":         "range_id",
	"task_queues":    "range_id",
	"task_queues_v2": "range_id",
}

// Route says how many Vitess shards a statement goes to.
type Route int

const (
	// Passed statements are none of the router's business: DDL, SHOW, SET, and SELECTs without a table.
	Passed Route = iota
	// Unsharded statements go to an unsharded keyspace.
	Unsharded
	// Single statements go to one Vitess shard of a sharded keyspace.
	Single
	// Scatter statements go to every Vitess shard of a keyspace, by the list above.
	Scatter
	// Unknown statements could go anywhere; [Plan.Unknown] says why.
	Unknown
)

// String returns the route as metrics and golden files write it.
func (r Route) String() string {
	switch r {
	case Passed:
		return "passed"
	case Unsharded:
		return "unsharded"
	case Single:
		return "single"
	case Scatter:
		return "scatter"
	case Unknown:
		return "unknown"
	default:
		return fmt.Sprintf("Route(%d)", int(r))
	}
}
