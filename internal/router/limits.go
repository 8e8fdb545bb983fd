package router

import (
	"slices"
	"strconv"

	"vitess.io/vitess/go/vt/sqlparser"

	"github.com/temporal-vitess/temporal-vitess/schema"
)

func rowLimit(rows int) *sqlparser.Limit {
	return &sqlparser.Limit{Rowcount: sqlparser.NewIntLiteral(strconv.Itoa(rows))}
}

// unbounded reports whether a DELETE can touch any number of rows: it has no limit and fixes no unique key. A list of
// values (IN) counts as fixed, since the caller bounds its length.
func unbounded(statement *sqlparser.Delete, s source) bool {
	if statement.Limit != nil {
		return false
	}
	fixed := collectEqualities(statement, []source{s})
	for _, condition := range conditions(statement) {
		comparison, ok := condition.(*sqlparser.ComparisonExpr)
		if !ok || comparison.Operator != sqlparser.InOp {
			continue
		}
		if column, ok := comparison.Left.(*sqlparser.ColName); ok {
			fixed.bind(s, column.Name.String(), nil)
		}
	}
	return !fixesKey(fixed, s)
}

func fixesKey(fixed *equalities, s source) bool {
	return slices.ContainsFunc(s.Keys, func(key []string) bool {
		return !slices.ContainsFunc(key, func(column string) bool { return !fixed.has(s, column) })
	})
}

// ranges reports whether a condition compares a column by order.
func ranges(statement sqlparser.Statement) bool {
	return slices.ContainsFunc(conditions(statement), func(condition sqlparser.Expr) bool {
		comparison, ok := condition.(*sqlparser.ComparisonExpr)
		return ok && slices.Contains([]sqlparser.ComparisonExprOperator{
			sqlparser.LessThanOp, sqlparser.LessEqualOp, sqlparser.GreaterThanOp, sqlparser.GreaterEqualOp,
		}, comparison.Operator)
	})
}

// pageKey returns the columns by which a SELECT of any number of rows is read in pages: those of the primary key that
// it does not fix. It is nil where a SELECT is bounded, or cannot be paged: a join, an aggregate, an order that is not
// the key's.
func pageKey(statement *sqlparser.Select, sources []source) []schema.Column {
	if len(sources) > 1 || statement.Limit != nil || statement.Distinct || statement.GroupBy != nil ||
		nested(statement) || sqlparser.ContainsAggregation(statement.SelectExprs) {
		return nil
	}
	s := sources[0]
	fixed := collectEqualities(statement, sources)
	if fixesKey(fixed, s) {
		return nil
	}
	var key []schema.Column
	for _, name := range s.PrimaryKey() {
		if !fixed.has(s, name) {
			column, _ := s.Column(name)
			key = append(key, column)
		}
	}
	position := 0
	for _, order := range statement.OrderBy {
		column, ok := order.Expr.(*sqlparser.ColName)
		switch {
		case ok && fixed.has(s, column.Name.String()): // a constant does not order
		case ok && order.Direction == sqlparser.AscOrder && position < len(key) && column.Name.EqualString(key[position].Name):
			position++
		default:
			return nil
		}
	}
	return key
}

// paginate makes a SELECT read its first page, with the key in its last columns, and returns the SELECT for the pages
// after a key, whose placeholders come after those of the first.
func paginate(first *sqlparser.Select, key []schema.Column, rows, placeholders int) *sqlparser.Select {
	first.OrderBy = nil
	for _, column := range key {
		first.SelectExprs.Exprs = append(first.SelectExprs.Exprs, &sqlparser.AliasedExpr{Expr: sqlparser.NewColName(column.Name)})
		first.OrderBy = append(first.OrderBy, &sqlparser.Order{Expr: sqlparser.NewColName(column.Name)})
	}
	first.Limit = rowLimit(rows)
	next := sqlparser.Clone(first)
	next.AddWhere(after(key, placeholders))
	return next
}

// after is the condition for rows that follow a key in its order.
func after(key []schema.Column, placeholders int) sqlparser.Expr {
	column, value := sqlparser.NewColName(key[0].Name), placeholder(placeholders)
	greater := &sqlparser.ComparisonExpr{Operator: sqlparser.GreaterThanOp, Left: column, Right: value}
	if len(key) == 1 {
		return greater
	}
	equal := &sqlparser.ComparisonExpr{Operator: sqlparser.EqualOp, Left: column, Right: value}
	return &sqlparser.OrExpr{Left: greater, Right: sqlparser.AndExpressions(equal, after(key[1:], placeholders+1))}
}
