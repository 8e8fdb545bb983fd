package router

import (
	"fmt"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Config of a [Router].
type Config struct {
	// Keyspaces has the name of each keyspace whose tables the router places. Names may be equal: on an unsharded
	// set-up all tables are in one.
	Keyspaces map[vschema.Role]string
	// Profile of the visibility keyspace.
	Profile vschema.Profile
	// MaxRows is the number of rows that a statement may return or delete, at most what Vitess' vttablet allows
	// (--queryserver-config-max-result-size).
	MaxRows int
	// MainUnsharded says that the tables of [vschema.Main] are in an unsharded keyspace or a MySQL database, or that routing
	// rules send them there, whatever their VSchema says.
	MainUnsharded bool
	// UpstreamQueries leaves visibility's lists and counts their joins, and MySQL the choice of their indexes.
	UpstreamQueries bool
}

// DefaultMaxRows is what a vttablet allows by default, and the default of the plugin's option vitess_max_rows.
const DefaultMaxRows = 10000

// Router places statements. It is safe for concurrent use.
type Router struct {
	maxRows   int
	keyspaces map[vschema.Role]string
	tables    map[string]*table
	parser    *sqlparser.Parser
	plans     *planCache
	ahead     *ahead

	upstreamQueries bool
}

// table is what the router knows of a table.
type table struct {
	schema.Table
	sharded        bool
	shardingColumn string
	workload       Workload
}

// New returns a router for the tables of cfg's keyspaces. It fails if the embedded schema and VSchema do not fit
// together.
func New(cfg Config) (*Router, error) {
	parser, err := sqlparser.New(sqlparser.Options{})
	if err != nil {
		return nil, err
	}
	plans, err := newPlanCache()
	if err != nil {
		return nil, err
	}
	r := &Router{
		maxRows: cfg.MaxRows, keyspaces: cfg.Keyspaces, tables: map[string]*table{}, parser: parser, plans: plans, ahead: &ahead{joins: map[string]*LookAhead{}},
		upstreamQueries: cfg.UpstreamQueries,
	}
	for role := range cfg.Keyspaces {
		placement, err := vschema.Load(role, cfg.Profile)
		if err != nil {
			return nil, err
		}
		keyspace, err := schema.Load(role)
		if err != nil {
			return nil, err
		}
		for _, t := range keyspace.Tables {
			if known, ok := r.tables[t.Name]; ok {
				return nil, fmt.Errorf("table %s is in keyspaces %q and %q: one router cannot serve both", t.Name, known.Role, role)
			}
			column := placement.Tables[t.Name].ShardingColumn()
			sharded := placement.Sharded && !(role == vschema.Main && cfg.MainUnsharded)
			r.tables[t.Name] = &table{Table: t, sharded: sharded, shardingColumn: column, workload: workloadOf(role, column)}
		}
	}
	return r, nil
}

// Plan is what to do with a statement. It is immutable.
type Plan struct {
	// Statement to send.
	Statement Statement
	// Route of the statement.
	Route Route
	// Keyspace is the name of the keyspace, "" if the statement is Passed or Unknown.
	Keyspace string
	// Table is the statement's first table, "" if the statement is Passed or Unknown.
	Table string
	// Column that decides the Vitess shard, "" unless the route is Single.
	Column string
	// Value is the index of the caller's argument that has the value of Column; -1 if the route is not Single, or the
	// value stands in the statement's text.
	Value int
	// Workload of the statement's tables.
	Workload Workload
	// Unknown says why the statement cannot be placed; nil unless the route is Unknown.
	Unknown error
	// Chunk is the number of rows after which a DELETE stops: it has to be repeated until it affects fewer. 0 if the
	// statement is complete at once.
	Chunk int
	// Page says how to read on after the first rows of a SELECT; nil if the statement is complete at once.
	Page *Page
	// Waits reports whether a write may wait in its transaction, see waits.go.
	Waits bool
	// Promise is what is known of the row count of a write that waits.
	Promise Promise
	// Insert reports whether the statement is an INSERT that affects the rows it lists or fails: without IGNORE and ON
	// DUPLICATE KEY UPDATE.
	Insert bool
	// Upsert reports whether the statement is an INSERT with ON DUPLICATE KEY UPDATE that leaves the same rows when it is
	// done twice, if the caller's arguments with the indexes of each pair of Assigned are equal.
	Upsert   bool
	Assigned [][2]int
	// Rows is how many rows an INSERT of any kind lists.
	Rows int64
	// Locks reports whether a SELECT locks its rows FOR UPDATE.
	Locks bool
	// Ahead reports whether [Router.LookAhead] may find something for a SELECT.
	Ahead bool
	// Key has the indexes of the caller's arguments for the primary key of Table in key order, if the statement's
	// conditions are that key and nothing else.
	Key []int
	// Owner is where the owner of a row is named (see ownerColumns), if the statement has a Key: of a SELECT the position among
	// the columns that it returns, of an UPDATE the index of the caller's argument that it is set to. -1 if it is nowhere.
	Owner int
	// Check locks the row of a SELECT that locks it and returns its owner, and fails on the server with [ErrCheck] unless the row
	// is there and its owner is the value of the argument behind the caller's. Nil for other statements.
	Check *Plan
}

// Name says what the statement does, in words without values.
func (p *Plan) Name() string {
	verb, _, _ := strings.Cut(strings.TrimSpace(p.Statement.SQL), " ")
	if p.Table == "" {
		return strings.ToLower(verb)
	}
	return strings.ToLower(verb) + " " + p.Table
}

// Page describes a SELECT that is read in pages by key. The last KeyText columns of a page's rows are the key of the
// row, which the caller did not ask for.
type Page struct {
	// Rows of a full page. After a page with fewer there is none.
	Rows int
	// Next reads the rows that follow a key. Its arguments are those of the caller, then the key.
	Next Statement
	// KeyText has an element for each key column: whether its value is text, to be compared by collation.
	KeyText []bool
}

// Statement is a SQL text with ? placeholders.
type Statement struct {
	SQL string
	// Placeholders is their number.
	Placeholders int
	// Args says where the value of each placeholder comes from; nil if it is the caller's arguments in their order.
	Args []Arg
}

// Arg is the source of a placeholder's value.
type Arg struct {
	// Index of the caller's argument; -1 if the value is Text.
	Index int
	// Text is a string literal of the statement that holds a question mark, which the driver would take for a
	// placeholder.
	Text string
}

// Pass returns the plan of a statement that is sent as it is.
func Pass(query string) *Plan {
	return &Plan{Statement: Statement{SQL: query, Placeholders: strings.Count(query, "?")}, Route: Passed, Value: -1, Owner: -1}
}

// Plan returns what to do with a statement, which has ? placeholders. A plan that is cached costs no
// allocation.
func (r *Router) Plan(query string) *Plan {
	if plan, ok := r.plans.get(query); ok {
		return plan
	}
	plan, err := r.plan(query)
	if err != nil {
		plan = Pass(query)
		plan.Route, plan.Unknown = Unknown, err
	}
	r.ahead.learn(plan)
	r.plans.add(query, plan)
	return plan
}
