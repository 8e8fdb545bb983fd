package router

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

// source is a table as a statement names it.
type source struct {
	*table
	// name that qualifies its columns: the alias, or the table's own.
	name string
}

// qualify puts the keyspace before the tables of a statement and returns them in order of appearance. All of them
// are in one keyspace.
func (r *Router) qualify(statement sqlparser.Statement) ([]source, error) {
	var sources []source
	err := sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		expr, ok := node.(*sqlparser.AliasedTableExpr)
		if !ok {
			return true, nil
		}
		name, ok := expr.Expr.(sqlparser.TableName)
		if !ok || name.Name.String() == "dual" {
			return true, nil
		}
		known, ok := r.tables[name.Name.String()]
		if !ok {
			return false, fmt.Errorf("table %s is in no VSchema of this store", name.Name)
		}
		if name.Qualifier.IsEmpty() {
			name.Qualifier = sqlparser.NewIdentifierCS(r.keyspaces[known.Role])
			expr.Expr = name
		}
		alias := known.Name
		if !expr.As.IsEmpty() {
			alias = expr.As.String()
		}
		sources = append(sources, source{table: known, name: alias})
		if first := sources[0]; first.Role != known.Role {
			return false, fmt.Errorf("tables %s and %s are in different keyspaces", first.Name, known.Name)
		}
		return true, nil
	}, statement)
	return sources, err
}

// qualifyDDL puts the keyspace before the tables of a schema change, so that a change of the store's schema goes where
// the table is, and reports whether it changed the statement.
func (r *Router) qualifyDDL(statement sqlparser.DDLStatement) bool {
	if !statement.IsFullyParsed() {
		return false
	}
	changed := false
	in := func(name sqlparser.TableName) sqlparser.TableName {
		if known, ok := r.tables[name.Name.String()]; ok && name.Qualifier.IsEmpty() {
			name.Qualifier = sqlparser.NewIdentifierCS(r.keyspaces[known.Role])
			changed = true
		}
		return name
	}
	table := in(statement.GetTable())
	statement.SetTable(table.Qualifier.String(), table.Name.String())
	dropped := statement.GetFromTables()
	for i := range dropped {
		dropped[i] = in(dropped[i])
	}
	return changed
}

// place decides where a statement in a sharded keyspace goes: the plan's route, the column that decides it, and the
// argument that has its value.
func place(plan *Plan, statement sqlparser.Statement, sources []source) error {
	if _, ok := statement.(*sqlparser.Union); ok {
		return errors.New("a UNION of a sharded keyspace has no place in the routing rules")
	}
	column := sources[0].shardingColumn
	if insert, ok := statement.(*sqlparser.Insert); ok {
		value, err := insertedValue(insert, column)
		if err == nil {
			plan.Route, plan.Column, plan.Value = Single, column, argumentIndex(value)
		}
		return err
	}
	if update, ok := statement.(*sqlparser.Update); ok {
		for _, assignment := range update.Exprs {
			if assignment.Name.Name.EqualString(column) {
				return fmt.Errorf("it changes the sharding column %s of %s: Vitess does not move rows", column, sources[0].Name)
			}
		}
	}
	if nested(statement) {
		return errors.New("a subquery of a sharded keyspace has no place in the routing rules")
	}
	equalities := collectEqualities(statement, sources)
	if equalities.reachAll(sources) {
		plan.Route, plan.Column, plan.Value = Single, column, argumentIndex(equalities.value(sources[0], column))
		return nil
	}
	_, allowed := scatterAllowed[sources[0].Name]
	equalities.bind(sources[0], column, nil)
	if _, ok := statement.(*sqlparser.Select); ok && allowed && equalities.reachAll(sources) {
		plan.Route = Scatter
		return nil
	}
	return fmt.Errorf("it does not say which %s of %s it wants, so that it would go to every Vitess shard", column, sources[0].Name)
}

// insertedValue returns what the first row of an INSERT has in a column; its other rows have to be on the same Vitess
// shard, as vtgate sees to.
func insertedValue(insert *sqlparser.Insert, column string) (sqlparser.Expr, error) {
	if insert.Action == sqlparser.ReplaceAct {
		return nil, errors.New("Vitess does not take REPLACE in a sharded keyspace")
	}
	rows, ok := insert.Rows.(sqlparser.Values)
	if !ok {
		return nil, errors.New("an INSERT without VALUES has no place in the routing rules")
	}
	index := insert.Columns.FindColumn(sqlparser.NewIdentifierCI(column))
	if index < 0 {
		return nil, fmt.Errorf("it inserts no %s, the sharding column", column)
	}
	for _, row := range rows {
		if index >= len(row) {
			return nil, errors.New("a row has fewer values than there are columns")
		}
		if !constant(row[index]) {
			return nil, fmt.Errorf("its value of %s, the sharding column, is neither a placeholder nor a literal", column)
		}
	}
	return rows[0][index], nil
}

// argumentIndex returns which of the caller's arguments an expression is, -1 if it is none.
func argumentIndex(expr sqlparser.Expr) int {
	if argument, ok := expr.(*sqlparser.Argument); ok {
		if index, err := placeholderIndex(argument); err == nil {
			return index
		}
	}
	return -1
}

func nested(statement sqlparser.Statement) bool {
	found := false
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		switch node.(type) {
		case *sqlparser.Subquery, *sqlparser.DerivedTable:
			found = true
		}
		return !found, nil
	}, statement)
	return found
}

// equalities are the columns that a statement's conditions fix to a constant, and those they fix to each other.
type equalities struct {
	sources []source
	// bound has the constant of each column, nil where it is not known which.
	bound map[string]sqlparser.Expr
	pairs [][2]string
}

func collectEqualities(statement sqlparser.Statement, sources []source) *equalities {
	e := &equalities{sources: sources, bound: map[string]sqlparser.Expr{}}
	for _, condition := range conditions(statement) {
		comparison, ok := condition.(*sqlparser.ComparisonExpr)
		if !ok || comparison.Operator != sqlparser.EqualOp {
			continue
		}
		left, leftOK := e.column(comparison.Left)
		right, rightOK := e.column(comparison.Right)
		switch {
		case leftOK && rightOK:
			e.pairs = append(e.pairs, [2]string{left, right})
		case leftOK && constant(comparison.Right):
			e.bound[left] = comparison.Right
		case rightOK && constant(comparison.Left):
			e.bound[right] = comparison.Left
		}
	}
	return e
}

// conditions returns the expressions that hold for every row of a statement: the parts of WHERE and of the ON of
// joins that AND connects.
func conditions(statement sqlparser.Statement) []sqlparser.Expr {
	var all []sqlparser.Expr
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		switch node := node.(type) {
		case *sqlparser.Where:
			all = sqlparser.SplitAndExpression(all, node.Expr)
		case *sqlparser.JoinCondition:
			all = sqlparser.SplitAndExpression(all, node.On)
		}
		return true, nil
	}, statement)
	return all
}

// column returns a key for the column that an expression is.
func (e *equalities) column(expr sqlparser.Expr) (string, bool) {
	column, ok := expr.(*sqlparser.ColName)
	if !ok {
		return "", false
	}
	for _, s := range e.sources {
		_, has := s.Column(column.Name.String())
		qualifier := column.Qualifier.Name.String()
		if has && (qualifier == "" || qualifier == s.name) {
			return e.key(s, column.Name.String()), true
		}
	}
	return "", false
}

func (e *equalities) key(s source, column string) string {
	return s.name + "." + strings.ToLower(column)
}

func (e *equalities) bind(s source, column string, value sqlparser.Expr) {
	e.bound[e.key(s, column)] = value
}

func (e *equalities) has(s source, column string) bool {
	_, ok := e.bound[e.key(s, column)]
	return ok
}

func (e *equalities) value(s source, column string) sqlparser.Expr { return e.bound[e.key(s, column)] }

// reachAll reports whether the sharding columns of all sources are fixed, directly or through one another.
func (e *equalities) reachAll(sources []source) bool {
	for range e.pairs { // a chain is at most as long as there are pairs
		for _, pair := range e.pairs {
			left, leftOK := e.bound[pair[0]]
			right, rightOK := e.bound[pair[1]]
			switch {
			case leftOK && !rightOK:
				e.bound[pair[1]] = left
			case rightOK && !leftOK:
				e.bound[pair[0]] = right
			}
		}
	}
	return !slices.ContainsFunc(sources, func(s source) bool { return !e.has(s, s.shardingColumn) })
}

func constant(expr sqlparser.Expr) bool {
	switch expr := expr.(type) {
	case *sqlparser.Argument, *sqlparser.Literal:
		return true
	case *sqlparser.UnaryExpr:
		return constant(expr.Expr)
	default:
		return false
	}
}
