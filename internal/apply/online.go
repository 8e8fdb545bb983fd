package apply

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	vitess "vitess.io/vitess/go/vt/schema"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

// DirectStrategy is the @@ddl_strategy that executes DDL at once, on each Vitess shard.
const DirectStrategy = string(vitess.DDLStrategyDirect)

// CheckStrategy returns an error if a Runner does not take this @@ddl_strategy. Vitess' own flags may follow its name, as
// in "vitess --prefer-instant-ddl".
func CheckStrategy(text string) error {
	setting, err := vitess.ParseDDLStrategy(text)
	if err != nil {
		return err
	}
	switch setting.Strategy {
	case vitess.DDLStrategyDirect, vitess.DDLStrategyVitess, vitess.DDLStrategyOnline:
	default:
		return fmt.Errorf("%q is none of %s, %s, %s", text, vitess.DDLStrategyDirect, vitess.DDLStrategyVitess, vitess.DDLStrategyOnline)
	}
	if setting.IsPostponeCompletion() || setting.IsPostponeLaunch() || setting.IsDeclarative() {
		return fmt.Errorf("%q: a migration that waits for a command, or that says what should be and not what to do, is not for this tool", text)
	}
	return nil
}

// isOnline tells whether Vitess takes DDL as a migration with this strategy.
func isOnline(strategy string) bool {
	setting, err := vitess.ParseDDLStrategy(strategy)
	return err == nil && !setting.Strategy.IsDirect()
}

// Migration is the state of an online migration.
type Migration struct {
	UUID, Keyspace, VitessShard, Table string
	// Status is Vitess', such as queued, running or complete.
	Status string
	// Progress is in percent of the rows.
	Progress float64
	// Left is how long Vitess thinks that it takes, negative if it does not know.
	Left time.Duration
	// Message is the error of a failed migration.
	Message string
	// Kept tells whether Vitess still has what the migration copied with: the old table, and a stopped stream.
	Kept bool
}

// migrationContext marks the migrations that are this tool's.
const migrationContext = "temporal-vitess-tool"

// pollInterval is the time between two looks at a migration.
const pollInterval = time.Second

// online submits a migration and returns when it is complete on all Vitess shards.
func (r *Runner) online(ctx context.Context, session *sql.Conn, action Action) error {
	set := fmt.Sprintf("SET @@ddl_strategy = %s, @@migration_context = %s", literal(r.Strategy), literal(migrationContext))
	if _, err := session.ExecContext(ctx, set); err != nil {
		return err
	}
	submitted, err := live.Column(ctx, session, action.SQL)
	if err != nil {
		return err
	}
	if len(submitted) == 0 {
		return errors.New("vtgate returned no migration: is online DDL enabled (vtgate --enable-online-ddl)?")
	}
	seen, err := r.await(ctx, session, action.Keyspace, func(m Migration) bool { return m.UUID == submitted[0] })
	if err == nil && !seen {
		err = fmt.Errorf("SHOW VITESS_MIGRATIONS does not have migration %s, which vtgate has taken", submitted[0])
	}
	return err
}

// awaitEarlier waits for the migrations of an earlier run in a keyspace.
func (r *Runner) awaitEarlier(ctx context.Context, keyspace string) error {
	return r.Vitess.In(ctx, keyspace, func(session *sql.Conn) error {
		_, err := r.await(ctx, session, keyspace, func(m Migration) bool { return !m.done() })
		if err != nil && !isOnline(r.Strategy) && strings.Contains(err.Error(), vitess.ErrOnlineDDLDisabled.Error()) {
			return nil // vttablets with --queryserver-enable-online-ddl=false run no migrations
		}
		return err
	})
}

func (m Migration) done() bool {
	return m.Status == "complete" || m.failed()
}

func (m Migration) failed() bool {
	return m.Status == "failed" || m.Status == "cancelled"
}

// await returns when the migrations that are asked for are complete, and whether there were any. One that failed is an
// error.
func (r *Runner) await(ctx context.Context, session *sql.Conn, keyspace string, which func(Migration) bool) (seen bool, err error) {
	ticker := time.NewTicker(pollInterval)
	defer ticker.Stop()
	for {
		migrations, err := showMigrations(ctx, session, keyspace)
		if err != nil {
			return seen, err
		}
		open := false
		for _, m := range migrations {
			if !which(m) {
				continue
			}
			seen = true
			if m.failed() {
				return seen, fmt.Errorf("migration %s of table %s on Vitess shard %s %s: %s; then ALTER VITESS_MIGRATION '%s' RETRY, or run this command again",
					m.UUID, m.Table, m.VitessShard, m.Status, m.Message, m.UUID)
			}
			if !m.done() {
				open = true
				r.Wait(m)
			}
		}
		if !open {
			return seen, nil
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return seen, fmt.Errorf("%w: the migration goes on without this tool; the next run waits for it (ALTER VITESS_MIGRATION ... CANCEL ends it)", ctx.Err())
		}
	}
}

// Kept returns the uuids of the tool's migrations in a keyspace of which Vitess still has what they copied with, as it does
// for a day (vttablet's --retain-online-ddl-tables). Until then Reshard does not switch: it moves the streams of a Vitess
// shard along, and refuses those that do not run (Vitess' StreamMigrator).
func (r *Runner) Kept(ctx context.Context, keyspace string) (uuids []string, err error) {
	if !isOnline(r.Strategy) {
		return nil, nil
	}
	err = r.Vitess.In(ctx, keyspace, func(session *sql.Conn) error {
		migrations, err := showMigrations(ctx, session, keyspace)
		for _, m := range migrations {
			if m.Kept && m.done() && !slices.Contains(uuids, m.UUID) {
				uuids = append(uuids, m.UUID)
			}
		}
		return err
	})
	return uuids, err
}

// showMigrations returns the tool's migrations in a keyspace, one for each Vitess shard.
func showMigrations(ctx context.Context, session *sql.Conn, keyspace string) ([]Migration, error) {
	var migrations []Migration
	err := live.EachText(ctx, session, "SHOW VITESS_MIGRATIONS FROM `"+keyspace+"` LIKE '"+migrationContext+"'", func(names, values []string) {
		m := Migration{Keyspace: keyspace, Left: -1}
		var artifacts, cleaned string
		for i, name := range names {
			value := values[i]
			switch strings.ToLower(name) {
			case "migration_uuid":
				m.UUID = value
			case "shard":
				m.VitessShard = value
			case "mysql_table":
				m.Table = value
			case "migration_status":
				m.Status = value
			case "message":
				m.Message = value
			case "artifacts":
				artifacts = value
			case "cleanup_timestamp":
				cleaned = value
			case "progress":
				_, _ = fmt.Sscan(value, &m.Progress) // NULL before it starts
			case "eta_seconds":
				var seconds int64
				if _, err := fmt.Sscan(value, &seconds); err == nil {
					m.Left = time.Duration(seconds) * time.Second
				}
			}
		}
		m.Kept = artifacts != "" && cleaned == ""
		migrations = append(migrations, m)
	})
	return migrations, err
}
