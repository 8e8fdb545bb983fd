package router

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"vitess.io/vitess/go/vt/sqlparser"
)

// aheadTable is the table whose row upstream locks next, once it knows the run from a row of one of aheadTables. These map
// those columns of its primary key that have another name there.
const aheadTable = "executions"

var aheadTables = map[string]map[string]string{
	"current_executions":       {},
	"current_chasm_executions": {"workflow_id": "business_id"},
}

// aheadUnknown is the column of aheadTable's primary key that only the row has.
const aheadUnknown = "run_id"

// LookAhead is a SELECT that locks a row by its primary key, together with another that locks the row of another table that it
// leads to. The rows are locked in the order in which the two would.
type LookAhead struct {
	// Plan of the statement, which has the arguments of the first SELECT. Its rows have the columns of the first, then those
	// of the second, then the run's ID as the second has it, which is NULL if there is no such row.
	Plan *Plan
	// First is the number of the first SELECT's columns, and Second the names of the second's.
	First  int
	Second []string
	// Next is the plan of the second SELECT, and Key has the indexes of the first's arguments for Next's primary key in key
	// order; -1 for the run's ID.
	Next *Plan
	Key  []int
}

// ahead has what is known for look-aheads. It is safe for concurrent use.
type ahead struct {
	mutex sync.Mutex
	// next is the first SELECT that was seen to lock a row of aheadTable.
	next *Plan
	// joins are the look-aheads of the SELECTs of aheadTables, by their text, nil where there is none.
	joins map[string]*LookAhead
}

// learn takes note of a plan.
func (a *ahead) learn(plan *Plan) {
	a.mutex.Lock()
	defer a.mutex.Unlock()
	if a.next == nil && plan.Table == aheadTable && plan.Locks && plan.Key != nil {
		a.next = plan
	}
}

// LookAhead returns what a SELECT can look ahead to, nil if there is nothing, or if upstream's statement for that was not seen
// yet. The error says why there never will be; it is returned once for a SELECT.
func (r *Router) LookAhead(plan *Plan) (look *LookAhead, err error) {
	if !plan.Ahead {
		return nil, nil
	}
	r.ahead.mutex.Lock()
	defer r.ahead.mutex.Unlock()
	next := r.ahead.next
	if next == nil {
		return nil, nil
	}
	look, known := r.ahead.joins[plan.Statement.SQL]
	if !known {
		look, err = r.lookAhead(plan, next)
		r.ahead.joins[plan.Statement.SQL] = look
	}
	return look, err
}

func (r *Router) lookAhead(plan, next *Plan) (*LookAhead, error) {
	if plan.Route != next.Route || plan.Keyspace != next.Keyspace || plan.Statement.Args != nil || next.Statement.Args != nil {
		return nil, fmt.Errorf("%s and %s may be in different places", plan.Table, next.Table)
	}
	look := &LookAhead{Next: next}
	const current, run = "c", "e"
	columns := func(plan *Plan, alias string) (*sqlparser.Select, []string, error) {
		parsed, err := r.parser.Parse(plan.Statement.SQL)
		if err != nil {
			return nil, nil, err
		}
		statement := parsed.(*sqlparser.Select)
		var names []string
		for _, expr := range statement.SelectExprs.Exprs {
			name, _, err := r.columnOf(plan, expr)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, name)
		}
		_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
			if column, ok := node.(*sqlparser.ColName); ok {
				column.Qualifier = sqlparser.NewTableName(alias)
			}
			return true, nil
		}, statement.SelectExprs, statement.Where)
		return statement, names, nil
	}
	first, names, err := columns(plan, current)
	if err != nil {
		return nil, err
	}
	second, secondNames, err := columns(next, run)
	if err != nil {
		return nil, err
	}
	look.First, look.Second = len(names), secondNames

	firstKey := r.tables[plan.Table].PrimaryKey()
	var on []string
	for _, column := range r.tables[next.Table].PrimaryKey() {
		there, renamed := aheadTables[plan.Table][column]
		if !renamed {
			there = column
		}
		on = append(on, fmt.Sprintf("%s.%s = %s.%s", run, column, current, there))
		index := -1
		if column != aheadUnknown {
			position := slices.IndexFunc(firstKey, func(name string) bool { return strings.EqualFold(name, there) })
			if position < 0 {
				return nil, fmt.Errorf("the primary key of %s has no %s", plan.Table, there)
			}
			index = plan.Key[position]
		}
		look.Key = append(look.Key, index)
	}
	parsed, err := r.parser.Parse(fmt.Sprintf("select %[1]s.%[2]s from `%[3]s`.%[4]s as %[5]s left join `%[3]s`.%[6]s as %[1]s on %[7]s",
		run, aheadUnknown, plan.Keyspace, plan.Table, current, next.Table, strings.Join(on, " and ")))
	if err != nil {
		return nil, err
	}
	join := parsed.(*sqlparser.Select)
	join.SelectExprs.Exprs = slices.Concat(first.SelectExprs.Exprs, second.SelectExprs.Exprs, join.SelectExprs.Exprs)
	join.Where, join.Lock = first.Where, first.Lock
	look.Plan = &Plan{
		Keyspace: plan.Keyspace, Table: plan.Table, Route: plan.Route, Column: plan.Column, Value: plan.Value, Workload: plan.Workload,
		Locks: true, Owner: -1,
	}
	look.Plan.Statement = render(join, directives(look.Plan, join))
	return look, nil
}
