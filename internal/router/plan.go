package router

import "vitess.io/vitess/go/vt/sqlparser"

// plan makes a plan from scratch. An error means that the statement is unknown.
func (r *Router) plan(query string) (*Plan, error) {
	parsed, err := r.parser.Parse(query)
	if err != nil {
		return nil, err
	}
	passed := Pass(query)
	switch parsed := parsed.(type) {
	case *sqlparser.Select, *sqlparser.Union, *sqlparser.Insert, *sqlparser.Update, *sqlparser.Delete:
	case sqlparser.DDLStatement:
		if r.qualifyDDL(parsed) {
			passed.Statement.SQL = sqlparser.String(parsed)
		}
		return passed, nil
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
		if !r.upstreamQueries {
			sources = dropJoins(statement, sources)
			hintIndexes(statement, sources)
		}
	}

	plan := &Plan{Keyspace: r.keyspaces[sources[0].Role], Table: sources[0].Name, Workload: sources[0].workload, Route: Unsharded, Value: -1, Owner: -1}
	if sources[0].sharded {
		if err := place(plan, parsed, sources); err != nil {
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
		plan.Upsert, plan.Assigned = upsert(parsed)
		dropKeyAssignments(parsed, sources[0])
	case *sqlparser.Update:
		plan.Owner = ownerArgument(parsed, plan)
	case *sqlparser.Delete:
		if unbounded(parsed, sources[0]) {
			parsed.Limit = rowLimit(r.maxRows)
			plan.Chunk = r.maxRows
		}
	case *sqlparser.Select:
		plan.Locks = parsed.Lock == sqlparser.ForUpdateLock
		_, leads := aheadTables[plan.Table]
		plan.Ahead = leads && len(sources) == 1 && plan.Locks && plan.Key != nil
		plan.Owner = ownerColumn(parsed, plan)
		if plan.Owner >= 0 && parsed.Lock != sqlparser.NoLock && len(parsed.SelectExprs.Exprs) == 1 {
			if plan.Check, err = r.check(parsed, plan, placeholders, comment); err != nil {
				return nil, err
			}
		}
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

// upsert reports whether an INSERT leaves the same rows when it is done twice: its ON DUPLICATE KEY UPDATE sets a column to
// what the INSERT has for it, or leaves it. Where it has a parameter for that (as upstream's of history_node), it is so if the
// two arguments of each pair are equal.
func upsert(insert *sqlparser.Insert) (upsert bool, assigned [][2]int) {
	for _, assignment := range insert.OnDup {
		switch expr := assignment.Expr.(type) {
		case *sqlparser.ValuesFuncExpr:
		case *sqlparser.ColName:
			if !expr.Name.Equal(assignment.Name.Name) {
				return false, nil
			}
		case *sqlparser.Argument:
			inserted := insertedArgument(insert, assignment.Name.Name)
			if inserted == nil {
				return false, nil
			}
			from, _ := placeholderIndex(inserted)
			to, _ := placeholderIndex(expr)
			assigned = append(assigned, [2]int{from, to})
		default:
			return false, nil
		}
	}
	return len(insert.OnDup) > 0, assigned
}

// insertedArgument returns what an INSERT of one row has for a column, nil if that is no parameter.
func insertedArgument(insert *sqlparser.Insert, column sqlparser.IdentifierCI) *sqlparser.Argument {
	rows, ok := insert.Rows.(sqlparser.Values)
	position := insert.Columns.FindColumn(column)
	if !ok || len(rows) != 1 || position < 0 || position >= len(rows[0]) {
		return nil
	}
	argument, _ := rows[0][position].(*sqlparser.Argument)
	return argument
}
