package router

import (
	"fmt"

	"vitess.io/vitess/go/vt/sqlparser"
)

// ErrCheck is MySQL's error for a [Plan.Check] that does not hold: ER_DATA_OUT_OF_RANGE, of a number that is larger than any.
const ErrCheck = 1690

// ownerColumn returns the position of the owner among the columns of a SELECT.
func ownerColumn(statement *sqlparser.Select, plan *Plan) int {
	if owner, ok := ownerColumns[plan.Table]; ok && plan.Key != nil {
		for i, expr := range statement.SelectExprs.Exprs {
			if aliased, ok := expr.(*sqlparser.AliasedExpr); ok {
				if column, ok := aliased.Expr.(*sqlparser.ColName); ok && column.Name.EqualString(owner) {
					return i
				}
			}
		}
	}
	return -1
}

// ownerArgument returns which of the caller's arguments an UPDATE sets the owner to.
func ownerArgument(statement *sqlparser.Update, plan *Plan) int {
	if owner, ok := ownerColumns[plan.Table]; ok && plan.Key != nil {
		for _, assignment := range statement.Exprs {
			if assignment.Name.Name.EqualString(owner) {
				return argumentIndex(assignment.Expr)
			}
		}
	}
	return -1
}

// check returns a plan's Check. It is an aggregate, which has a row and so is evaluated where there is none in the table. A
// subquery would not do: vtgate drops its lock.
func (r *Router) check(statement *sqlparser.Select, plan *Plan, placeholders int, comment string) (*Plan, error) {
	owner := ownerColumns[plan.Table]
	parsed, err := r.parser.Parse(fmt.Sprintf("select if(max(%[1]s) = :v%[2]d, max(%[1]s), pow(1e300, 1e300)) from dual", owner, placeholders+1))
	if err != nil {
		return nil, err
	}
	locking := sqlparser.Clone(statement)
	locking.SelectExprs = parsed.(*sqlparser.Select).SelectExprs
	return &Plan{
		Statement: render(locking, comment), Keyspace: plan.Keyspace, Table: plan.Table, Route: plan.Route, Column: plan.Column, Value: plan.Value,
		Workload: plan.Workload, Waits: true, Owner: -1,
	}, nil
}
