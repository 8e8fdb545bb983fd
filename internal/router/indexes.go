package router

import "vitess.io/vitess/go/vt/sqlparser"

// This file says by which index MySQL reads visibility, where it does not find out by itself. Nearly each index of
// executions_visibility has the order of lists behind its own column, as an expression. MySQL gives each expression of an index a
// hidden column, and takes ORDER BY for one of these that are equal, that of another index than it reads by. So it sorts: 9.7.4 sorts a
// whole namespace for its newest page (go run ./integration/bench -visibility).

// orderedIndexes are the indexes of executions_visibility that have namespace_id, a column of which many rows have the same value,
// and the order of lists behind these; divisionIndex is another.
var orderedIndexes = []struct{ column, index string }{
	{"task_queue", "by_task_queue"},
	{"workflow_type_name", "by_workflow_type"},
	{"status", statusIndex},
}

const (
	visibilityTable = "executions_visibility"
	namespaceColumn = "namespace_id"
	statusIndex     = "by_status"
	// divisionColumn is in the conditions of each list and count: upstream adds IS NULL where the caller does not name it.
	divisionColumn = "TemporalNamespaceDivision"
	divisionIndex  = "by_temporal_namespace_division"

	// These are parts of upstream's texts as [bare] writes them (BuildSelectStmt and BuildCountStmt of
	// sqlplugin/mysql/query_converter.go): the order of a list, the condition that a page token adds, what a count returns and how it
	// is grouped. A statement with other parts keeps MySQL's plan.
	listOrder     = " order by " + closed + " desc, start_time desc, run_id asc"
	listToken     = closed + " = ? and start_time = ? and run_id > ? or " + closed + " = ? and start_time < ? or " + closed + " < ?"
	closed        = "coalesce(close_time, cast('9999-12-31 23:59:59' as datetime))"
	countAll      = "count(*)"
	groupByStatus = " group by `status`"
)

// hintIndexes names the index to read a list or count of visibility by, where it is known: if all rows that have one value of the
// index's column are asked for, or all of a division. Others stay MySQL's choice.
func hintIndexes(statement *sqlparser.Select, sources []source) {
	table, ok := statement.From[0].(*sqlparser.AliasedTableExpr)
	if !ok || len(statement.From) != 1 || len(sources) != 1 || sources[0].Name != visibilityTable || len(table.Hints) > 0 || nested(statement) {
		return
	}
	if statement.GroupBy != nil {
		// The groups are in the order of by_status, which has nothing of the division: each row would be looked up, at random.
		if bare(statement.GroupBy) == groupByStatus && names(statement.Where, divisionColumn) {
			table.Hints = sqlparser.IndexHints{hint(sqlparser.IgnoreOp, sqlparser.GroupByForType, statusIndex)}
		}
		return
	}
	indexes, token := conditionIndexes(statement)
	switch {
	case len(indexes) == 0:
	case bare(statement.OrderBy) == listOrder && statement.Limit != nil:
		nameCharset(statement)
		// Rows of another division are passed over. Where that would be many, MySQL may sort those of this division.
		table.Hints = sqlparser.IndexHints{
			hint(sqlparser.UseOp, sqlparser.JoinForType, indexes...),
			hint(sqlparser.UseOp, sqlparser.OrderByForType, indexes[0]),
		}
	case bare(statement.SelectExprs) == countAll && indexes[0] == divisionIndex && !token:
		table.Hints = sqlparser.IndexHints{hint(sqlparser.UseOp, sqlparser.NoForType, divisionIndex)}
	}
}

// nameCharset gives the literals of a list's order and page token the character set that those in the indexes have. Without it
// they have the collation of the session, and are not equal for MySQL where that is another than the default.
func nameCharset(statement *sqlparser.Select) {
	in := func(cursor *sqlparser.Cursor) bool {
		if cast, ok := cursor.Node().(*sqlparser.CastExpr); ok {
			if literal, ok := cast.Expr.(*sqlparser.Literal); ok && literal.Type == sqlparser.StrVal {
				cast.Expr = &sqlparser.IntroducerExpr{CharacterSet: "_utf8mb4", Expr: literal}
			}
		}
		return true
	}
	sqlparser.Rewrite(statement.OrderBy, in, nil)
	sqlparser.Rewrite(statement.Where, in, nil)
}

func hint(kind sqlparser.IndexHintType, use sqlparser.IndexHintForType, names ...string) *sqlparser.IndexHint {
	h := &sqlparser.IndexHint{Type: kind, ForType: use}
	for _, name := range names {
		h.Indexes = append(h.Indexes, sqlparser.NewIdentifierCI(name))
	}
	return h
}

// conditionIndexes returns the index of the one column beside namespace and division that the conditions fix, then that of the
// division, of which one may be missing; and whether there is a page token. It returns none if there are other conditions.
func conditionIndexes(statement *sqlparser.Select) (indexes []string, token bool) {
	if statement.Where == nil {
		return nil, false
	}
	fixed := map[string]bool{}
	for _, condition := range sqlparser.SplitAndExpression(nil, statement.Where.Expr) {
		column, ok := fixedColumn(condition)
		switch {
		case ok:
			fixed[column] = true
		case bare(condition) == listToken:
			token = true
		default:
			return nil, false
		}
	}
	known := []string{namespaceColumn}
	for _, ordered := range orderedIndexes {
		if fixed[ordered.column] {
			known, indexes = append(known, ordered.column), append(indexes, ordered.index)
		}
	}
	others := len(indexes)
	if fixed[divisionColumn] {
		known, indexes = append(known, divisionColumn), append(indexes, divisionIndex)
	}
	if !fixed[namespaceColumn] || len(known) < len(fixed) || others > 1 {
		return nil, false
	}
	return indexes, token
}

// fixedColumn returns the column that a condition fixes to one value, or to NULL.
func fixedColumn(condition sqlparser.Expr) (string, bool) {
	var fixed sqlparser.Expr
	switch condition := condition.(type) {
	case *sqlparser.ComparisonExpr:
		if condition.Operator == sqlparser.EqualOp && constant(condition.Right) {
			fixed = condition.Left
		}
	case *sqlparser.IsExpr:
		if condition.Right == sqlparser.IsNullOp {
			fixed = condition.Left
		}
	}
	column, ok := fixed.(*sqlparser.ColName)
	if !ok {
		return "", false
	}
	return column.Name.String(), true
}

// names reports whether a node names a column.
func names(node sqlparser.SQLNode, column string) bool {
	found := false
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		if name, ok := node.(*sqlparser.ColName); ok && name.Name.EqualString(column) {
			found = true
		}
		return !found, nil
	}, node)
	return found
}

// bare returns the text of a node with ? for parameters and without the names of tables.
func bare(node sqlparser.SQLNode) string {
	buf := sqlparser.NewTrackedBuffer(func(buf *sqlparser.TrackedBuffer, node sqlparser.SQLNode) {
		switch node := node.(type) {
		case *sqlparser.Argument:
			buf.WriteString("?")
		case *sqlparser.ColName:
			node.Name.Format(buf)
		default:
			node.Format(buf)
		}
	})
	node.Format(buf)
	return buf.String()
}
