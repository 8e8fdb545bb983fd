package doctor

import (
	"context"
	"database/sql"
	"slices"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// badMode is a value of sql_mode that changes what Temporal's or Vitess' statements mean.
type badMode struct {
	name   string
	status Status
	text   string
	// vitess reports that only Vitess suffers, and visibility that only its tables do.
	vitess, visibility bool
}

// badModes are all of MySQL's that matter. Others change what no statement of Temporal's has: see the test.
var badModes = []badMode{
	{name: "NO_BACKSLASH_ESCAPES", status: Fail, vitess: true,
		text: "values with quotes, backslashes or zero bytes change or end the statement, since Vitess escapes them with backslashes"},
	{name: "PAD_CHAR_TO_FULL_LENGTH", status: Fail, visibility: true,
		text: "run IDs and namespace IDs come back from visibility with spaces behind them, and equal no other"},
	{name: "HIGH_NOT_PRECEDENCE", status: Fail, visibility: true,
		text: "NOT a = b means (NOT a) = b, so visibility answers queries with NOT wrongly"},
	{name: "ANSI_QUOTES", status: Warn,
		text: "upstream's schema has strings in double quotes, which its own tool cannot apply then"},
}

// strictModes are those with which MySQL refuses a value that does not fit. vttablet asks for one of them too, unless it has
// --enforce-strict-trans-tables=false.
var strictModes = []string{"STRICT_TRANS_TABLES", "STRICT_ALL_TABLES"}

func checkSQLMode(ctx context.Context, e *examination, seen *observations) error {
	e.onEach(ctx, e.homes, seen, func(ctx context.Context, p place, session *sql.Conn, seen *observations) error {
		values, err := live.Column(ctx, session, "SELECT variable_value FROM performance_schema.session_variables WHERE variable_name = 'sql_mode'")
		if err != nil {
			return err
		}
		modes := strings.Split(strings.Join(values, ""), ",")
		strict := slices.ContainsFunc(strictModes, func(mode string) bool { return slices.Contains(modes, mode) })
		if !strict {
			seen.fail("without %s: what is too long or too large for its column is cut off", strings.Join(strictModes, " or "))
		}
		good := strict
		for _, bad := range badModes {
			if slices.Contains(modes, bad.name) && !(bad.vitess && e.plain) && (!bad.visibility || p.home.has(vschema.Visibility)) {
				seen.add(bad.status, "%s: %s", bad.name, bad.text)
				good = false
			}
		}
		if good {
			seen.pass("%s", strings.Join(modes, ","))
		}
		return nil
	})
	return nil
}
