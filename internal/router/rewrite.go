package router

import (
	"slices"

	"vitess.io/vitess/go/vt/sqlparser"
)

// dropKeyAssignments removes the assignments to columns of the primary key from ON DUPLICATE KEY UPDATE. Where a row
// is a duplicate they are equal already, since none of the tables that upstream upserts has another unique key; but
// Vitess refuses to assign a sharding column. Where nothing else was assigned (upstream's way to say DO NOTHING), a
// column that is not in the key keeps its value instead.
func dropKeyAssignments(insert *sqlparser.Insert, s source) {
	inKey := func(name sqlparser.IdentifierCI) bool {
		return slices.ContainsFunc(s.PrimaryKey(), name.EqualString)
	}
	remaining := slices.DeleteFunc(slices.Clone(insert.OnDup), func(assignment *sqlparser.UpdateExpr) bool {
		return inKey(assignment.Name.Name)
	})
	if len(insert.OnDup) > 0 && len(remaining) == 0 {
		for _, column := range slices.Backward(insert.Columns) {
			if !inKey(column) {
				name := &sqlparser.ColName{Name: column}
				remaining = sqlparser.OnDup{{Name: name, Expr: name}}
				break
			}
		}
	}
	if len(remaining) > 0 { // a table that is all key keeps what upstream assigns
		insert.OnDup = remaining
	}
}

// nameColumns makes every column of a join say which table it is from: of JOIN … USING, which vtgate resolves against
// the table before instead of the first, and of unqualified names, which are ambiguous once USING is gone.
func nameColumns(statement *sqlparser.Select, sources []source) {
	if len(sources) == 1 || nested(statement) {
		return
	}
	owner := func(column sqlparser.IdentifierCI) sqlparser.TableName {
		for _, s := range sources {
			if _, ok := s.Column(column.String()); ok {
				return sqlparser.NewTableName(s.name)
			}
		}
		return sqlparser.TableName{}
	}
	_ = sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		switch node := node.(type) {
		case *sqlparser.JoinTableExpr:
			right, ok := node.RightExpr.(*sqlparser.AliasedTableExpr)
			if !ok || node.Condition == nil {
				break
			}
			table, err := right.TableName()
			if err != nil {
				break
			}
			for _, column := range node.Condition.Using {
				node.Condition.On = sqlparser.AndExpressions(node.Condition.On, &sqlparser.ComparisonExpr{
					Operator: sqlparser.EqualOp,
					Left:     sqlparser.NewColNameWithQualifier(column.String(), owner(column)),
					Right:    sqlparser.NewColNameWithQualifier(column.String(), sqlparser.NewTableName(table.Name.String())),
				})
			}
			node.Condition.Using = nil
		case *sqlparser.ColName:
			if node.Qualifier.IsEmpty() {
				node.Qualifier = owner(node.Name)
			}
		}
		return true, nil
	}, statement)
}
