package routing

import (
	"regexp"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

var sqlParser = sqlparser.NewTestParser()

// canonical is a statement's text without what does not matter to where it goes, so that the same statement of both
// plugins reads the same: keyspaces and comments, all but the first row of an INSERT and the first element of an IN
// list, and values, which become "?".
func canonical(query string) string {
	parsed, err := sqlParser.Parse(query)
	if err != nil {
		return squeeze(query)
	}
	if commented, ok := parsed.(sqlparser.Commented); ok {
		commented.SetComments(nil)
	}
	result := sqlparser.Rewrite(parsed, func(cursor *sqlparser.Cursor) bool {
		switch node := cursor.Node().(type) {
		case sqlparser.TableName:
			if !node.Qualifier.IsEmpty() {
				cursor.Replace(sqlparser.NewTableName(node.Name.String()))
			}
		case *sqlparser.Literal, *sqlparser.Argument:
			cursor.Replace(sqlparser.NewTypedArgument("?", -1))
		case sqlparser.ValTuple:
			if len(node) > 1 && isInList(cursor.Parent()) {
				cursor.Replace(node[:1])
			}
		case *sqlparser.Insert:
			if rows, ok := node.Rows.(sqlparser.Values); ok && len(rows) > 1 {
				node.Rows = rows[:1]
			}
		}
		return true
	}, nil)
	return squeeze(strings.ReplaceAll(sqlparser.String(result), ":?", "?"))
}

// squeeze puts a text on one line.
func squeeze(text string) string { return strings.Join(strings.Fields(text), " ") }

func isInList(parent sqlparser.SQLNode) bool {
	comparison, ok := parent.(*sqlparser.ComparisonExpr)
	return ok && (comparison.Operator == sqlparser.InOp || comparison.Operator == sqlparser.NotInOp)
}

var directive = regexp.MustCompile(`/\*vt\+.*?\*/`)

// directives are the instructions to Vitess in a statement.
func directives(query string) string { return strings.Join(directive.FindAllString(query, -1), " ") }
