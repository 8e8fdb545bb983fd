package live

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
)

// defaultSQLMode is MySQL's own.
const defaultSQLMode = "ONLY_FULL_GROUP_BY,STRICT_TRANS_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION"

// readingModes change how mysqld reads SQL, and how it writes the text of a table.
var readingModes = []string{"ANSI_QUOTES", "HIGH_NOT_PRECEDENCE", "IGNORE_SPACE", "NO_BACKSLASH_ESCAPES", "PIPES_AS_CONCAT", "REAL_AS_FLOAT"}

// ReadAsUsual gives a session MySQL's own sql_mode, if that of the server changes how SQL is read and written. Otherwise it sets nothing, since
// vtgate may keep a connection of a Vitess shard for a session that does.
func ReadAsUsual(ctx context.Context, session *sql.Conn) error {
	// vtgate answers @@sql_mode by itself.
	modes, err := Column(ctx, session, "SELECT variable_value FROM performance_schema.session_variables WHERE variable_name = 'sql_mode'")
	if err != nil {
		return fmt.Errorf("sql_mode of mysqld: %w", err)
	}
	for _, mode := range strings.Split(strings.Join(modes, ","), ",") {
		if slices.Contains(readingModes, mode) {
			_, err := session.ExecContext(ctx, "SET sql_mode = '"+defaultSQLMode+"'")
			return err
		}
	}
	return nil
}
