package migrate

import (
	"context"
	"slices"
	"strings"

	"vitess.io/vitess/go/sqltypes"
)

var directConnections = Check{
	Name:   "connections",
	Title:  "nobody is connected to the source's MySQL but Vitess",
	Why:    "A switch stops what comes through vtgate. What a server writes to MySQL itself goes on, is lost, and ends the way back.",
	Fix:    "Let these servers go through vtgate, with the plugin and the final names. Then shut their user out: ALTER USER … ACCOUNT LOCK, and KILL the connections. Vitess needs users of its own.",
	Before: []Command{Switch, Complete},
	run: func(ctx context.Context, i *inspection, seen *seen) error {
		return i.eachSource(ctx, func(on primary) error {
			own := map[string]bool{}
			for _, ask := range []func(context.Context, primary, string) (*sqltypes.Result, error){i.app, i.dba} {
				rows, err := ask(ctx, on, "SELECT CURRENT_USER()")
				if err != nil {
					return err
				}
				for _, row := range rows.Rows {
					name, _, _ := strings.Cut(row[0].ToString(), "@")
					own[name] = true
				}
			}
			grants, err := i.column(ctx, on, "SHOW GRANTS")
			if err != nil {
				return err
			}
			if !slices.ContainsFunc(grants, seesAll) {
				seen.problem("%s: vttablet's user cannot see the connections of others: GRANT PROCESS ON *.*", on)
			}
			rows, err := i.dba(ctx, on, "SHOW FULL PROCESSLIST")
			if err != nil {
				return err
			}
			for _, row := range rows.Named().Rows {
				user := row.AsString("User", "")
				if own[user] || strings.HasPrefix(user, "vt_") || slices.Contains(mysqlsOwn, user) || strings.HasPrefix(row.AsString("Command", ""), "Binlog Dump") {
					continue
				}
				seen.problem("%s: user %s from %s, database %s, connection %d", on, user, row.AsString("Host", ""), row.AsString("db", "none"), row.AsInt64("Id", 0))
			}
			return nil
		})
	},
}

// mysqlsOwn are users of mysqld's own threads.
var mysqlsOwn = []string{"system user", "event_scheduler", "mysql.session", "rdsadmin"}

// seesAll reports whether a grant lets its user see the connections of others.
func seesAll(grant string) bool {
	given, _, global := strings.Cut(grant, " ON *.*")
	return global && (strings.Contains(given, "ALL PRIVILEGES") || strings.Contains(given, "PROCESS"))
}
