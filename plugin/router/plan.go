package router

import (
	"errors"

	"vitess.io/vitess/go/vt/sqlparser"
)

// plan makes a plan from scratch. An error means that the statement is unknown.
func (r *Router) plan(query string) (*Plan, error) {
	parsed, err := r.parser.Parse(query)
	if err != nil {
		return nil, err
	}
	passed := Pass(query)
	switch parsed := parsed.(type) {
	case *sqlparser.Select, *sqlparser.Insert, *sqlparser.Update, *sqlparser.Delete:
	case sqlparser.DDLStatement:
		if r.qualifyDDL(parsed) {
			passed.Statement.SQL = sqlparser.String(parsed)
		}
		return passed, nil
	case *sqlparser.Union:
		return nil, errors.New("a UNION has no place in the routing rules")
	default:
		return passed, nil
	}
	sources, err := r.qualify(parsed)
	if err != nil {
		return nil, err
	}
	if len(sources) == 0 {
		return passed, nil
	}
	if statement, ok := parsed.(*sqlparser.Select); ok {
		nameColumns(statement, sources)
	}

	plan := &Plan{Keyspace: r.keyspaces[sources[0].Role], Table: sources[0].Name, Workload: sources[0].workload, Route: Unsharded}
	if sources[0].sharded {
		if plan.Route, plan.Column, err = place(parsed, sources); err != nil {
			return nil, err
		}
	}
	placeholders, err := countPlaceholders(parsed)
	if err != nil {
		return nil, err
	}
	comment := directives(plan, parsed)
	plan.Waits, plan.Promise = waits(parsed, sources[0])
	plan.Key = keyArgs(parsed, sources[0])
	switch parsed := parsed.(type) {
	case *sqlparser.Insert:
		plan.Insert = len(parsed.OnDup) == 0 && !bool(parsed.Ignore)
		if rows, ok := parsed.Rows.(sqlparser.Values); ok {
			plan.Rows = int64(len(rows))
		}
		dropKeyAssignments(parsed, sources[0])
	case *sqlparser.Delete:
		if unbounded(parsed, sources[0]) {
			parsed.Limit = rowLimit(r.maxRows)
			plan.Chunk = r.maxRows
		}
	case *sqlparser.Select:
		plan.Locks = parsed.Lock == sqlparser.ForUpdateLock
		if key := pageKey(parsed, sources); key != nil {
			next := paginate(parsed, key, r.maxRows, placeholders)
			plan.Page = &Page{Rows: r.maxRows, Next: render(next, comment)}
			for _, column := range key {
				plan.Page.KeyText = append(plan.Page.KeyText, column.Text)
			}
		}
	}
	plan.Statement = render(parsed, comment)
	return plan, nil
}
