package router

import (
	"errors"
	"fmt"

	"vitess.io/vitess/go/vt/sqlparser"
)

// Union is several SELECTs as one statement, which a vttablet gets as one: each row says which SELECT it is from, and has
// the columns of all, each type of column on its own, so that no value changes its type.
type Union struct {
	// Plan of the statement. Its arguments are those that the SELECTs have in common.
	Plan *Plan
	// Rows are returned at most, of all SELECTs together. Where there are as many, further ones may be missing.
	Rows  int
	Parts []UnionPart
}

// UnionPart is one of the SELECTs.
type UnionPart struct {
	// Plan of the SELECT on its own.
	Plan *Plan
	// Columns are the names of its columns, and Positions where they are in the rows. The first column of a row is the
	// index of the part.
	Columns   []string
	Positions []int
}

// Union returns SELECTs that have the same arguments as one statement. It fails where they cannot be one: not on one Vitess
// shard by the same argument, or with other columns than those of their one table.
func (r *Router) Union(queries []string) (*Union, error) {
	if len(queries) < 2 {
		return nil, errors.New("a UNION takes two SELECTs or more")
	}
	union := &Union{Rows: r.maxRows}
	var selects []*sqlparser.Select
	var types []string // of the columns behind the first
	for _, query := range queries {
		plan := r.Plan(query)
		statement, err := r.unionable(plan)
		if err != nil {
			return nil, err
		}
		if first := r.Plan(queries[0]); plan.Route != first.Route || plan.Keyspace != first.Keyspace || plan.Value != first.Value || plan.Column != first.Column {
			return nil, fmt.Errorf("%s and %s may be in different places", first.Table, plan.Table)
		}
		part := UnionPart{Plan: plan}
		taken := map[int]bool{}
		for _, expr := range statement.SelectExprs.Exprs {
			name, sqlType, err := r.columnOf(plan, expr)
			if err != nil {
				return nil, err
			}
			position := 0
			for position < len(types) && (taken[position] || types[position] != sqlType) {
				position++
			}
			if position == len(types) {
				types = append(types, sqlType)
			}
			taken[position] = true
			part.Columns, part.Positions = append(part.Columns, name), append(part.Positions, position+1)
		}
		union.Parts, selects = append(union.Parts, part), append(selects, statement)
	}

	var all sqlparser.TableStatement
	for i, statement := range selects {
		exprs := make([]sqlparser.SelectExpr, 1+len(types))
		exprs[0] = &sqlparser.AliasedExpr{Expr: sqlparser.NewIntLiteral(fmt.Sprint(i))}
		for position := range types {
			exprs[1+position] = &sqlparser.AliasedExpr{Expr: &sqlparser.NullVal{}}
		}
		for column, position := range union.Parts[i].Positions {
			exprs[position] = &sqlparser.AliasedExpr{Expr: statement.SelectExprs.Exprs[column].(*sqlparser.AliasedExpr).Expr}
		}
		statement.SelectExprs = &sqlparser.SelectExprs{Exprs: exprs}
		if all == nil {
			all = statement
			continue
		}
		all = &sqlparser.Union{Left: all, Right: statement}
	}
	all.SetLimit(rowLimit(r.maxRows))
	first := union.Parts[0].Plan
	union.Plan = &Plan{
		Keyspace: first.Keyspace, Table: first.Table, Workload: first.Workload, Route: first.Route, Column: first.Column, Value: first.Value, Owner: -1,
	}
	union.Plan.Statement = render(all, directives(union.Plan, all))
	return union, nil
}

// unionable returns the statement of a plan, parsed again, without comments.
func (r *Router) unionable(plan *Plan) (*sqlparser.Select, error) {
	if plan.Route != Single && plan.Route != Unsharded || plan.Statement.Args != nil {
		return nil, fmt.Errorf("%q cannot be a part of a UNION", plan.Statement.SQL)
	}
	parsed, err := r.parser.Parse(plan.Statement.SQL)
	if err != nil {
		return nil, err
	}
	statement, ok := parsed.(*sqlparser.Select)
	if !ok || statement.Lock != sqlparser.NoLock {
		return nil, fmt.Errorf("%q cannot be a part of a UNION", plan.Statement.SQL)
	}
	statement.SetComments(nil)
	return statement, nil
}

// columnOf returns the name and the type of a column that a SELECT of one table returns.
func (r *Router) columnOf(plan *Plan, expr sqlparser.SelectExpr) (name, sqlType string, err error) {
	if aliased, ok := expr.(*sqlparser.AliasedExpr); ok {
		if column, ok := aliased.Expr.(*sqlparser.ColName); ok {
			if known, ok := r.tables[plan.Table].Column(column.Name.String()); ok {
				return aliased.ColumnName(), known.Type, nil
			}
		}
	}
	return "", "", fmt.Errorf("%q returns something else than columns of %s", plan.Statement.SQL, plan.Table)
}
