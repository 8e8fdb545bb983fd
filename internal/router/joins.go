package router

import (
	"slices"

	"vitess.io/vitess/go/vt/sqlparser"
)

// dropJoins removes the LEFT JOINs of a SELECT whose table it names nowhere but in their conditions, and returns the sources
// that remain. Upstream joins custom_search_attributes and chasm_search_attributes with every list and count of visibility
// (sqlplugin/mysql/query_converter.go, query_converter_legacy_mysql.go). Such a join neither removes a row, being a LEFT JOIN,
// nor doubles one, if its condition fixes the primary key of its table. The columns have to have their tables' names
// (nameColumns); a statement with anything unexpected stays as it is.
func dropJoins(statement *sqlparser.Select, sources []source) []source {
	if len(sources) == 1 || len(statement.From) != 1 || statement.Lock != sqlparser.NoLock || statement.With != nil || nested(statement) {
		return sources
	}
	named, ok := namings(statement, sources)
	if !ok {
		return sources
	}
	var dropped []string
	var drop func(sqlparser.TableExpr) sqlparser.TableExpr
	drop = func(expr sqlparser.TableExpr) sqlparser.TableExpr {
		join, ok := expr.(*sqlparser.JoinTableExpr)
		if !ok {
			return expr
		}
		if joined, ok := joinedByKey(join, sources); ok {
			inCondition, _ := namings(join.Condition, sources)
			if named[joined.name] == inCondition[joined.name] {
				dropped = append(dropped, joined.name)
				return drop(join.LeftExpr)
			}
		}
		join.LeftExpr = drop(join.LeftExpr)
		return join
	}
	statement.From[0] = drop(statement.From[0])
	return slices.DeleteFunc(sources, func(s source) bool { return slices.Contains(dropped, s.name) })
}

// namings counts the columns that name each of the sources. It is not ok if there may be others that are not named.
func namings(node sqlparser.SQLNode, sources []source) (named map[string]int, ok bool) {
	named, ok = map[string]int{}, true
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		switch node := node.(type) {
		case *sqlparser.StarExpr:
			ok = false
		case *sqlparser.JoinTableExpr:
			plain := node.Join == sqlparser.NormalJoinType || node.Join == sqlparser.LeftJoinType
			ok = ok && plain && (node.Condition == nil || len(node.Condition.Using) == 0)
		case *sqlparser.ColName:
			name := node.Qualifier.Name.String()
			named[name]++
			ok = ok && slices.ContainsFunc(sources, func(s source) bool { return s.name == name })
		}
		return ok, nil
	}, node)
	return named, ok
}

// joinedByKey returns the source that a LEFT JOIN adds, if its condition is that columns of this source are equal to columns of the
// same type of others, and its primary key is among these.
func joinedByKey(join *sqlparser.JoinTableExpr, sources []source) (source, bool) {
	right, ok := join.RightExpr.(*sqlparser.AliasedTableExpr)
	if !ok || join.Join != sqlparser.LeftJoinType || join.Condition == nil {
		return source{}, false
	}
	name := right.As.String()
	if table, ok := right.Expr.(sqlparser.TableName); ok && name == "" {
		name = table.Name.String()
	}
	find := func(name string) (source, bool) {
		index := slices.IndexFunc(sources, func(s source) bool { return s.name == name })
		if index < 0 {
			return source{}, false
		}
		return sources[index], true
	}
	joined, ok := find(name)
	if !ok {
		return source{}, false
	}
	missing := slices.Clone(joined.PrimaryKey())
	for _, condition := range sqlparser.SplitAndExpression(nil, join.Condition.On) {
		comparison, ok := condition.(*sqlparser.ComparisonExpr)
		if !ok || comparison.Operator != sqlparser.EqualOp {
			return source{}, false
		}
		ours, isColumn := comparison.Right.(*sqlparser.ColName)
		theirs, areColumns := comparison.Left.(*sqlparser.ColName)
		if !isColumn || !areColumns {
			return source{}, false
		}
		if theirs.Qualifier.Name.String() == name {
			ours, theirs = theirs, ours
		}
		other, ok := find(theirs.Qualifier.Name.String())
		if !ok || other.name == name || ours.Qualifier.Name.String() != name {
			return source{}, false
		}
		column, known := joined.Column(ours.Name.String())
		otherColumn, otherKnown := other.Column(theirs.Name.String())
		if !known || !otherKnown || column.Type != otherColumn.Type {
			return source{}, false
		}
		missing = slices.DeleteFunc(missing, ours.Name.EqualString)
	}
	return joined, len(missing) == 0
}
