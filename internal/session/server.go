package session

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-sql-driver/mysql"
	"go.temporal.io/server/common/log/tag"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
)

// vitessVersion finds the version in what a vtgate says of itself, such as "Version: 24.0.3 (Git revision …".
var vitessVersion = regexp.MustCompile(`\d+\.\d+\.\d+\S*`)

// VitessVersion returns that of the vtgate, which tells it itself, such as 24.0.3; "" of a MySQL without Vitess.
func (p *Pool) VitessVersion(ctx context.Context) (string, error) {
	rows, err := p.shard.query(ctx, "select @@version_comment", nil)
	if err != nil || len(rows) == 0 || p.PlainMySQL() {
		return "", err
	}
	return vitessVersion.FindString(rows[0][0]), nil
}

// errUnknownSystemVariable is MySQL's ER_UNKNOWN_SYSTEM_VARIABLE.
const errUnknownSystemVariable = 1193

// server is what the connections of a store have learned of the server. It is safe for concurrent use.
type server struct {
	cfg                         Config
	plainMySQL, many, foundRows atomic.Bool
	// probed is when many and foundRows were last looked for, told whether the log has what is missing.
	probed atomic.Int64
	told   atomic.Bool

	// defaults is what is known of the server's own settings.
	defaults atomic.Int32
	// patience is until when the settings that a Vitess shard has to check are left out, since it did not answer.
	patience atomic.Int64
}

// PlainMySQL reports whether the server turned out not to be a vtgate.
func (s *server) PlainMySQL() bool { return s.plainMySQL.Load() }

// Many reports whether the server has taken several statements at once: vtgate and MySQL do, a proxy between may not.
func (s *server) Many() bool { return s.many.Load() }

// FoundRows reports whether an UPDATE turned out to count the rows that it finds, and not those that it changes. What is
// known of row counts rests on it.
func (s *server) FoundRows() bool { return s.foundRows.Load() }

// The values of server.defaults.
const (
	notLookedAt = iota
	asWanted
	otherwise
)

// ownSettings are variables of the session that vtgate keeps for itself or ignores (sysvars.VitessAware and IgnoreThese in
// vitess.io/vitess/go/vt/sysvars). All others it checks with a query on the Vitess shard of keyspace ID 0 of the default
// keyspace (engine.SysVarReservedConn), without which a session would not open.
var ownSettings = []string{
	"autocommit", "charset", "client_found_rows", "ddl_strategy", "migration_context", "names", "query_timeout",
	"read_after_write_gtid", "read_after_write_timeout", "session_track_gtids", "skip_query_plan_cache", "sql_select_limit",
	transactionTimeout, "wait_timeout", "workload",
}

const transactionTimeout = "transaction_timeout"

// DefaultTransactionTimeout is how long a transaction may be open unless Config.Settings say otherwise. A vtgate that dies
// leaves its transactions, with their row locks, to the timeout of vttablet, whose own default is 30 s. This is as long as
// Temporal gives an operation. Vttablet ends only transactions that are between two statements.
const DefaultTransactionTimeout = 10 * time.Second

// own reports whether the server keeps a variable for itself.
func (s *server) own(name string) bool {
	return !s.plainMySQL.Load() && slices.Contains(ownSettings, name)
}

func unknownVariable(err error) bool {
	var serverError *mysql.MySQLError
	return errors.As(err, &serverError) && serverError.Number == errUnknownSystemVariable
}

const (
	// probeAgain is how long a server that lacks something is not asked again.
	probeAgain = 10 * time.Second
	// settingTimeout is how long a Vitess shard may take to check a setting, and settingPause how long none is asked once
	// it took longer or failed. Sessions do without the setting meanwhile, and get it later.
	settingTimeout = time.Second
	settingPause   = 5 * time.Second
)

// meet sets up a connection as far as vtgate does itself: its transactions keep to one Vitess shard, as others commit
// without atomicity. Of the first connections it asks what the server can.
func (s *server) meet(ctx context.Context, base connection) error {
	if !s.plainMySQL.Load() {
		_, err := base.ExecContext(ctx, "set transaction_mode='single'", nil)
		switch {
		case unknownVariable(err):
			s.plainMySQL.Store(true)
		case err != nil:
			return err
		}
	}
	if own := s.setting(true); own != "" {
		// A vtgate before 22 has no such timeout; what the user set has to be known.
		_, err := base.ExecContext(ctx, own, nil)
		if _, ours := s.cfg.Settings[transactionTimeout]; err != nil && (ours || !unknownVariable(err)) {
			return err
		}
	}
	now := time.Now().UnixNano()
	if last := s.probed.Load(); s.cfg.Probe && (!s.many.Load() || !s.foundRows.Load()) &&
		time.Duration(now-last) > probeAgain && s.probed.CompareAndSwap(last, now) {
		err := s.probe(ctx, base)
		if err != nil {
			s.probed.Store(last) // the next connection finds out
		}
		return err
	}
	return nil
}

// setting returns the SET statement of vtgate's own variables, or of all others; "" if there are none.
func (s *server) setting(own bool) string {
	settings := s.cfg.Settings
	if _, given := settings[transactionTimeout]; own && !given && !s.plainMySQL.Load() {
		settings = maps.Clone(settings)
		if settings == nil {
			settings = map[string]string{}
		}
		settings[transactionTimeout] = strconv.FormatInt(DefaultTransactionTimeout.Milliseconds(), 10)
	}
	var assignments []string
	for _, name := range slices.Sorted(maps.Keys(settings)) {
		if s.own(name) == own {
			assignments = append(assignments, name+"="+settings[name])
		}
	}
	if len(assignments) == 0 {
		return ""
	}
	return "set " + strings.Join(assignments, ", ")
}

// The probes. Vtgate answers both itself; MySQL has no variable for what its handshake has agreed upon.
const (
	probeVTGate = "select 1; select @@client_found_rows"
	probeMySQL  = "create temporary table vitess_found_rows (id int primary key) select 1 as id; " +
		"update vitess_found_rows set id = 1; drop temporary table vitess_found_rows"
)

// probe finds out whether several statements can be sent at once, and what an UPDATE counts. Only a connection that is
// lost is an error.
func (s *server) probe(ctx context.Context, base connection) error {
	many, found, err := s.ask(ctx, base)
	if err != nil && !base.IsValid() {
		return err
	}
	s.many.Store(s.many.Load() || many)
	s.foundRows.Store(s.foundRows.Load() || found)
	switch {
	case s.many.Load() && s.foundRows.Load() || s.told.Swap(true):
	case !s.many.Load():
		s.cfg.Logger.Warn("The server does not take several statements at once, so transactions are not pipelined: each of their statements is a round trip",
			tag.Error(err))
	default:
		s.cfg.Logger.Warn("An UPDATE does not count the rows that it finds (clientFoundRows), or this cannot be told, so pipelined transactions wait for row counts",
			tag.Error(err))
	}
	return nil
}

func (s *server) ask(ctx context.Context, base connection) (many, foundRows bool, err error) {
	if s.plainMySQL.Load() {
		if _, err := base.ExecContext(ctx, "select 1; select 1", nil); err != nil {
			return false, false, err
		}
		result, err := base.ExecContext(ctx, probeMySQL, nil)
		if err != nil {
			return true, false, err
		}
		all, ok := result.(mysql.Result)
		return true, ok && len(all.AllRowsAffected()) == 3 && all.AllRowsAffected()[1] == 1, nil
	}
	rows, err := base.QueryContext(ctx, probeVTGate, nil)
	if err != nil {
		return false, false, err
	}
	defer rows.Close()
	results, ok := rows.(driver.RowsNextResultSet)
	if !ok {
		return false, false, errors.New("the driver's rows have no further results")
	}
	if err := results.NextResultSet(); err != nil {
		return true, false, err
	}
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return true, false, err
	}
	return true, text(row[0]) == "1", nil
}

// set gives a session the settings that it lacks. Where no Vitess shard checks them now, the session does without: it
// reads and writes as safely with MySQL's default isolation, but meets more deadlocks. A setting that is refused is an
// error.
func (s *server) set(ctx context.Context, target *Session) error {
	if !target.unset {
		return nil
	}
	setting := ""
	if s.defaults.Load() != asWanted {
		setting = s.setting(false)
	}
	if setting == "" {
		target.unset = false
		return nil
	}
	// After a failure one session tries, and all others do without.
	now, last := time.Now(), s.patience.Load()
	if last != 0 && (now.UnixNano() < last || !s.patience.CompareAndSwap(last, now.Add(settingTimeout+settingPause).UnixNano())) {
		return nil
	}
	caller := ctx
	ctx, cancel := context.WithTimeout(ctx, settingTimeout)
	defer cancel()
	err := s.look(ctx, target)
	if err == nil && s.defaults.Load() == otherwise {
		_, err = target.ExecContext(ctx, setting, nil)
	}
	if err == nil {
		target.unset = false
		s.patience.Store(0)
		return nil
	}
	if caller.Err() != nil { // which says nothing of the Vitess shard
		return caller.Err()
	}
	var met *outcome.Error
	if !errors.As(outcome.Of(err, outcome.Repeatable), &met) && ctx.Err() == nil || met != nil && met.Class == outcome.Defect {
		return fmt.Errorf("connectAttributes: %s: %w", setting, err)
	}
	s.patience.Store(time.Now().Add(settingPause).UnixNano())
	s.cfg.Logger.Warn("A session does without its settings, since the Vitess shard that vtgate checks them on does not answer; none is needed where they are mysqld's defaults",
		tag.String("settings", setting), tag.Error(err))
	return nil
}

// look finds out, once, whether the settings are the server's own already.
func (s *server) look(ctx context.Context, base *Session) error {
	if s.defaults.Load() != notLookedAt {
		return nil
	}
	var names []string
	for name := range s.cfg.Settings {
		if !s.own(name) {
			names = append(names, name)
		}
	}
	rows, err := base.QueryContext(ctx, "select @@"+strings.Join(names, ", @@"), nil)
	if err != nil {
		return err
	}
	defer rows.Close()
	row := make([]driver.Value, len(names))
	if err := rows.Next(row); err != nil {
		return err
	}
	state := int32(asWanted)
	for i, name := range names {
		if !strings.EqualFold(text(row[i]), strings.Trim(s.cfg.Settings[name], "' ")) {
			state = otherwise
		}
	}
	s.defaults.Store(state)
	if err := rows.Next(row); !errors.Is(err, io.EOF) {
		return err
	}
	return nil
}

// text returns a value as the server writes it.
func text(value driver.Value) string {
	if data, ok := value.([]byte); ok {
		return string(data)
	}
	return fmt.Sprint(value)
}
