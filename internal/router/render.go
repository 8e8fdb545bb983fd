package router

import (
	"fmt"
	"strconv"
	"strings"

	"vitess.io/vitess/go/vt/sqlparser"
)

// directives returns the comment that tells Vitess about a statement.
func directives(plan *Plan, statement sqlparser.Statement) string {
	priority := priorities[plan.Workload]
	scatter := ""
	if _, ok := statement.(*sqlparser.Delete); ok && ranges(statement) {
		priority = backgroundPriority
	}
	if plan.Route == Scatter {
		priority = max(priority, scatterAllowed[plan.Table].priority)
		scatter = " " + sqlparser.DirectiveAllowScatter
	}
	return fmt.Sprintf("/*vt+ %s=%s %s=%d%s */", sqlparser.DirectiveWorkloadName, plan.Workload, sqlparser.DirectivePriority, priority, scatter)
}

// The parser names the placeholders of a statement :v1, :v2 and so on.

func placeholder(index int) *sqlparser.Argument {
	return sqlparser.NewArgument("v" + strconv.Itoa(index+1))
}

func placeholderIndex(argument *sqlparser.Argument) (int, error) {
	number, err := strconv.Atoi(strings.TrimPrefix(argument.Name, "v"))
	if err != nil {
		return 0, fmt.Errorf("it has a named parameter :%s", argument.Name)
	}
	return number - 1, nil
}

// countPlaceholders fails if a statement has parameters of another kind.
func countPlaceholders(statement sqlparser.Statement) (int, error) {
	count := 0
	err := sqlparser.Walk(func(node sqlparser.SQLNode) (bool, error) {
		if argument, ok := node.(*sqlparser.Argument); ok {
			count++
			if _, err := placeholderIndex(argument); err != nil {
				return false, err
			}
		}
		return true, nil
	}, statement)
	return count, err
}

// render writes a statement with the directives, and with ? for its placeholders.
func render(statement sqlparser.Statement, comment string) Statement {
	if commented, ok := statement.(sqlparser.Commented); ok {
		commented.SetComments(commented.GetParsedComments().Prepend(comment))
	}
	var args []Arg
	inOrder := true
	add := func(buf *sqlparser.TrackedBuffer, arg Arg) {
		inOrder = inOrder && arg.Index == len(args)
		args = append(args, arg)
		buf.WriteString("?")
	}
	buf := sqlparser.NewTrackedBuffer(func(buf *sqlparser.TrackedBuffer, node sqlparser.SQLNode) {
		switch node := node.(type) {
		case *sqlparser.Argument:
			index, _ := placeholderIndex(node) // countPlaceholders has seen it
			add(buf, Arg{Index: index})
		case *sqlparser.Literal:
			if node.Type == sqlparser.StrVal && strings.Contains(node.Val, "?") {
				add(buf, Arg{Index: -1, Text: node.Val})
				return
			}
			node.Format(buf)
		default:
			node.Format(buf)
		}
	})
	statement.Format(buf)
	rendered := Statement{SQL: buf.String(), Placeholders: len(args)}
	if !inOrder {
		rendered.Args = args
	}
	return rendered
}
