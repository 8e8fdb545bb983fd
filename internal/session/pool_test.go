package session

import (
	"context"
	"database/sql/driver"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/log"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// scripted stands for a server whose answers a test chooses; what real ones answer is shown in the folder integration.
type scripted struct {
	mutex sync.Mutex
	// dial may fail, or take its time.
	dial func(ctx context.Context) error
	// answer returns the row that a statement is answered with, or its error. Nil answers with a row of "1".
	answer func(ctx context.Context, query string) ([]driver.Value, error)
	// got are the statements, by connection.
	got [][]string
}

func (s *scripted) Driver() driver.Driver { return mysql.MySQLDriver{} }

func (s *scripted) Connect(ctx context.Context) (driver.Conn, error) {
	if s.dial != nil {
		if err := s.dial(ctx); err != nil {
			return nil, err
		}
	}
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.got = append(s.got, nil)
	return &scriptedConn{server: s, number: len(s.got) - 1}, nil
}

func (s *scripted) connections() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return len(s.got)
}

// sent returns how often a statement that begins so was sent.
func (s *scripted) sent(beginning string) int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	count := 0
	for _, statement := range slices.Concat(s.got...) {
		if strings.HasPrefix(statement, beginning) {
			count++
		}
	}
	return count
}

type scriptedConn struct {
	server *scripted
	number int
	closed bool
}

func (c *scriptedConn) run(ctx context.Context, query string) ([]driver.Value, error) {
	c.server.mutex.Lock()
	c.server.got[c.number] = append(c.server.got[c.number], query)
	c.server.mutex.Unlock()
	if c.server.answer == nil {
		return []driver.Value{"1"}, nil
	}
	row, err := c.server.answer(ctx, query)
	if ctx.Err() != nil { // as go-sql-driver does
		c.closed = true
		return nil, ctx.Err()
	}
	return row, err
}

func (c *scriptedConn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	_, err := c.run(ctx, query)
	return driver.RowsAffected(0), err
}

func (c *scriptedConn) QueryContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Rows, error) {
	row, err := c.run(ctx, query)
	if err != nil {
		return nil, err
	}
	return &scriptedRows{row: row, results: strings.Count(query, ";")}, nil
}

func (c *scriptedConn) Prepare(string) (driver.Stmt, error) { return nil, errors.ErrUnsupported }
func (c *scriptedConn) Begin() (driver.Tx, error)           { return nil, errors.ErrUnsupported }
func (c *scriptedConn) Close() error                        { c.closed = true; return nil }
func (c *scriptedConn) Ping(context.Context) error          { return nil }
func (c *scriptedConn) ResetSession(context.Context) error  { return nil }
func (c *scriptedConn) IsValid() bool                       { return !c.closed }

// scriptedRows are results of the same row.
type scriptedRows struct {
	row     []driver.Value
	read    bool
	results int
}

func (r *scriptedRows) Columns() []string { return make([]string, len(r.row)) }
func (r *scriptedRows) Close() error      { return nil }
func (r *scriptedRows) Next(values []driver.Value) error {
	if r.read || r.row == nil {
		return io.EOF
	}
	r.read = true
	copy(values, r.row)
	return nil
}
func (r *scriptedRows) HasNextResultSet() bool { return r.results > 0 }
func (r *scriptedRows) NextResultSet() error {
	if r.results == 0 {
		return io.EOF
	}
	r.results, r.read = r.results-1, false
	return nil
}

func newPool(t *testing.T, cfg Config) *Pool {
	t.Helper()
	cfg.Logger = log.NewNoopLogger()
	if cfg.Failed == nil {
		cfg.Failed = func(outcome.Class) {}
	}
	if cfg.Opened == nil {
		cfg.Opened = func() {}
	}
	cfg.MaxIdle = 10
	p, err := NewPool(cfg)
	require.NoError(t, err)
	t.Cleanup(p.Close)
	return p
}

// take takes a session and gives it back.
func take(t *testing.T, p *Pool) *Session {
	t.Helper()
	s, err := p.Take(t.Context(), "")
	require.NoError(t, err)
	p.Give(s)
	return s
}

var isolation = map[string]string{"transaction_isolation": "'READ-COMMITTED'"}

const setIsolation = "set transaction_isolation='READ-COMMITTED'"

// answers returns one for a server whose isolation is that.
func answers(isolation string) func(context.Context, string) ([]driver.Value, error) {
	return func(_ context.Context, query string) ([]driver.Value, error) {
		if query == "select @@transaction_isolation" {
			return []driver.Value{[]byte(isolation)}, nil
		}
		return []driver.Value{"1"}, nil
	}
}

func TestSessionsKeepToOneVitessShard(t *testing.T) {
	server := &scripted{}
	take(t, newPool(t, Config{Base: server}))
	require.Equal(t, [][]string{{"set transaction_mode='single'", "set transaction_timeout=10000"}}, server.got)
}

func TestSettingsThatVTGateKeepsAreSetAtOnce(t *testing.T) {
	server := &scripted{}
	take(t, newPool(t, Config{Base: server, Settings: map[string]string{"workload": "'oltp'", transactionTimeout: "7"}}))
	require.Equal(t, [][]string{{"set transaction_mode='single'", "set transaction_timeout=7, workload='oltp'"}}, server.got)
}

func TestPlainMySQLIsAskedOnceForTheTransactionMode(t *testing.T) {
	server := &scripted{answer: func(_ context.Context, query string) ([]driver.Value, error) {
		if strings.HasPrefix(query, "set transaction_") {
			return nil, &mysql.MySQLError{Number: errUnknownSystemVariable, Message: "Unknown system variable"}
		}
		return []driver.Value{"1"}, nil
	}}
	p := newPool(t, Config{Base: server})
	take(t, p)
	p.Reset()
	take(t, p)
	require.Equal(t, [][]string{{"set transaction_mode='single'"}, nil}, server.got)
	require.True(t, p.PlainMySQL())
}

func TestAServersOwnIsolationIsNotSet(t *testing.T) {
	server := &scripted{answer: answers("READ-COMMITTED")}
	p := newPool(t, Config{Base: server, Settings: isolation})
	take(t, p)
	p.Reset()
	take(t, p)
	require.Equal(t, 2, server.connections())
	require.Equal(t, 1, server.sent("select @@transaction_isolation"), "known once")
	require.Zero(t, server.sent(setIsolation))
}

func TestAnotherIsolationIsSetForEachSession(t *testing.T) {
	server := &scripted{answer: answers("REPEATABLE-READ")}
	p := newPool(t, Config{Base: server, Settings: isolation})
	take(t, p)
	take(t, p)
	p.Reset()
	take(t, p)
	require.Equal(t, 2, server.sent(setIsolation))
	require.Equal(t, 1, server.sent("select @@transaction_isolation"))
}

func TestASessionOpensWithoutWhatAVitessShardHasToCheck(t *testing.T) {
	for _, asked := range []string{"select @@transaction_isolation", setIsolation} {
		for name, fail := range map[string]func(ctx context.Context) error{
			"fails": func(context.Context) error {
				return &mysql.MySQLError{Number: 1105, Message: "target: temporal.-80.primary: no healthy tablet available for 'x'"}
			},
			"hangs": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		} {
			t.Run(asked+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					down := true
					ask := answers("REPEATABLE-READ")
					server := &scripted{answer: func(ctx context.Context, query string) ([]driver.Value, error) {
						if down && query == asked {
							return nil, fail(ctx)
						}
						return ask(ctx, query)
					}}
					p := newPool(t, Config{Base: server, Settings: isolation})
					begin := time.Now()
					first := take(t, p)
					require.True(t, first.unset)
					require.LessOrEqual(t, time.Since(begin), settingTimeout)
					attempts := server.sent(asked)
					for range 5 {
						take(t, p)
					}
					require.Equal(t, attempts, server.sent(asked), "it is left alone for a while")

					down = false
					time.Sleep(settingPause)
					require.False(t, take(t, p).unset)
					require.Equal(t, 1, server.sent(setIsolation)-boolToInt(asked == setIsolation)*attempts)
					p.Close()
				})
			})
		}
	}
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func TestASettingThatIsRefusedIsAnError(t *testing.T) {
	server := &scripted{answer: func(_ context.Context, query string) ([]driver.Value, error) {
		if strings.Contains(query, "sql_moad") {
			return nil, &mysql.MySQLError{Number: errUnknownSystemVariable, Message: "Unknown system variable 'sql_moad'"}
		}
		return []driver.Value{"1"}, nil
	}}
	_, err := newPool(t, Config{Base: server, Settings: map[string]string{"sql_moad": "''"}}).Take(t.Context(), "")
	require.ErrorContains(t, err, "sql_moad")
}

func TestWhatPipeliningNeedsIsLookedForAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refuses := true
		server := &scripted{answer: func(_ context.Context, query string) ([]driver.Value, error) {
			if refuses && strings.HasPrefix(query, "select 1;") {
				return nil, &mysql.MySQLError{Number: 1064, Message: "You have an error in your SQL syntax"}
			}
			return []driver.Value{"1"}, nil
		}}
		p := newPool(t, Config{Base: server, Probe: true})
		take(t, p)
		require.False(t, p.Many())
		refuses = false
		p.Reset()
		take(t, p)
		require.False(t, p.Many(), "not with each session")
		time.Sleep(probeAgain + time.Second)
		p.Reset()
		take(t, p)
		require.True(t, p.Many())
		require.True(t, p.FoundRows())
		p.Close()
	})
}

func TestWithoutFoundRowsThereIsNoneToBePromised(t *testing.T) {
	server := &scripted{answer: func(_ context.Context, query string) ([]driver.Value, error) { return []driver.Value{"0"}, nil }}
	p := newPool(t, Config{Base: server, Probe: true})
	take(t, p)
	require.True(t, p.Many())
	require.False(t, p.FoundRows())
}

func TestConnectionsThatOpenAreCounted(t *testing.T) {
	opened, refused := 0, errors.New("dial tcp 127.0.0.1:1: connect: connection refused")
	p := newPool(t, Config{
		Base:   &scripted{dial: func(context.Context) error { return refused }},
		Opened: func() { opened++ },
	})
	_, err := p.Take(t.Context(), "")
	require.Error(t, err)
	require.Zero(t, opened)
	refused = nil
	take(t, p)
	take(t, p)
	require.Equal(t, 1, opened)
}

func TestAVTGateTellsItsVersion(t *testing.T) {
	for _, test := range []struct{ comment, want string }{
		{"Version: 24.0.3 (Git revision 0123abc branch 'HEAD') built on Thu Nov 26 2026", "24.0.3"},
		{"Version: 25.0.0-SNAPSHOT (Git revision", "25.0.0-SNAPSHOT"},
		{"something else", ""},
	} {
		server := &scripted{answer: func(context.Context, string) ([]driver.Value, error) { return []driver.Value{test.comment}, nil }}
		version, err := newPool(t, Config{Base: server}).VitessVersion(t.Context())
		require.NoError(t, err)
		require.Equal(t, test.want, version)
	}
}

func TestConnectFailuresAreCountedAndClassed(t *testing.T) {
	for _, test := range []struct {
		name string
		err  error
		want outcome.Class
	}{
		{"nobody listens", errors.New("dial tcp 127.0.0.1:1: connect: connection refused"), outcome.NotExecuted},
		{"a vtgate that ends", &mysql.MySQLError{Number: 1053, Message: "Server shutdown in progress"}, outcome.NotExecuted},
		{"a full server", &mysql.MySQLError{Number: 1040, Message: "Too many connections"}, outcome.Overloaded},
		{"a wrong password", &mysql.MySQLError{Number: 1045, Message: "Access denied for user"}, outcome.Refused},
		{"what nobody has seen", &mysql.MySQLError{Number: 1105, Message: "what nobody has seen"}, outcome.NotExecuted},
	} {
		t.Run(test.name, func(t *testing.T) {
			var counted []outcome.Class
			p := newPool(t, Config{
				Base:   &scripted{dial: func(context.Context) error { return test.err }},
				Failed: func(class outcome.Class) { counted = append(counted, class) },
			})
			_, err := p.Take(t.Context(), "")
			require.Equal(t, test.want, outcome.ClassOf(err))
			require.Equal(t, []outcome.Class{test.want}, counted)
		})
	}
}

func TestACallerWhoGivesUpWhileASessionOpensLeavesItForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{dial: func(ctx context.Context) error {
			select {
			case <-time.After(time.Second):
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		}}
		p := newPool(t, Config{Base: server, MaxConns: 1})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err := p.Take(ctx, "a")
		require.True(t, err == context.DeadlineExceeded, "upstream asks by ==")
		take(t, p)
		require.Equal(t, 1, server.connections())
		p.Close()
	})
}

func TestOldSessionsAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{}
		p := newPool(t, Config{Base: server, MaxLifetime: time.Minute})
		take(t, p)
		time.Sleep(time.Minute - time.Second)
		take(t, p)
		require.Equal(t, 1, server.connections())
		time.Sleep(20 * time.Second)
		synctest.Wait()
		require.Zero(t, p.Stats().OpenConnections, "while nobody needs them as well")
		take(t, p)
		require.Equal(t, 2, server.connections())
		p.Close()
		synctest.Wait()
	})
}

func TestStatementsAreGroupedByVitessShard(t *testing.T) {
	r, err := router.New(router.Config{
		Keyspaces: map[vschema.Role]string{vschema.Main: "temporal", vschema.Global: "temporal_global"}, MaxRows: 10,
	})
	require.NoError(t, err)
	group := func(p *Pool, query string, args ...any) string {
		var named []driver.NamedValue
		for _, arg := range args {
			named = append(named, driver.NamedValue{Value: arg})
		}
		return p.Group(t.Context(), r.Plan(query), named)
	}
	const byHistoryShard, global = "SELECT data FROM shards WHERE shard_id = ?", "SELECT data FROM namespaces WHERE id = ?"

	server := &scripted{answer: func(_ context.Context, query string) ([]driver.Value, error) {
		switch {
		case strings.HasPrefix(query, "show vschema vindexes on `temporal`.`shards`"):
			return []driver.Value{"shard_id", "placement", "hash", "", ""}, nil
		case strings.HasPrefix(query, "select id, shard from `temporal`.`placement` where id in (?"):
			return []driver.Value{"5", "80-"}, nil
		default:
			return []driver.Value{"1"}, nil
		}
	}}
	p := newPool(t, Config{Base: server, MaxConns: 4})
	require.Equal(t, "temporal/80-", group(p, byHistoryShard, int64(5)))
	require.Equal(t, "temporal/80-", group(p, byHistoryShard, int64(5)))
	require.Equal(t, 1, server.sent("select id, shard"), "it is remembered")
	require.Equal(t, "temporal", group(p, byHistoryShard, int64(6)), "what vtgate does not tell")
	require.Equal(t, "temporal_global", group(p, global, []byte("id")))
	require.Equal(t, "", group(p, "SELECT 1"))

	require.Equal(t, "", group(newPool(t, Config{Base: server}), byHistoryShard, int64(5)), "nothing is divided without a limit")

	old := &scripted{answer: func(_ context.Context, query string) ([]driver.Value, error) {
		if strings.HasPrefix(query, "show vschema") {
			return nil, &mysql.MySQLError{Number: 1064, Message: "You have an error in your SQL syntax"}
		}
		return []driver.Value{"1"}, nil
	}}
	p = newPool(t, Config{Base: old, MaxConns: 4})
	for range 3 {
		require.Equal(t, "temporal", group(p, byHistoryShard, int64(5)))
	}
	require.Equal(t, 1, old.sent("show vschema"), "a vtgate that does not know is not asked again")
}

func TestPlacesGoBackToTheGroupThatHadThem(t *testing.T) {
	p := newPool(t, Config{Base: &scripted{}, MaxConns: 4})
	bounded, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var all sync.WaitGroup
	for caller := range 16 {
		group := []string{"a", "b"}[caller%2]
		all.Go(func() {
			for range 500 {
				s, err := p.Take(bounded, group)
				if err != nil {
					return
				}
				p.Give(s)
			}
		})
	}
	all.Wait()
	// Each has its half, and no more, once it hangs: had one kept places of the other, it would have fewer.
	for _, group := range []string{"a", "b"} {
		for range 2 {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			_, err := p.Take(ctx, group)
			cancel()
			require.NoError(t, err, group)
		}
	}
}

func TestOneSessionLooksWhetherTheSettingsCanBeHad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &scripted{answer: func(ctx context.Context, query string) ([]driver.Value, error) {
			if query == "select @@transaction_isolation" {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return []driver.Value{"1"}, nil
		}}
		p := newPool(t, Config{Base: server, Settings: isolation, MaxConns: 10})
		take(t, p)
		for range 3 {
			time.Sleep(settingPause + settingTimeout)
			before := server.sent("select @@transaction_isolation")
			var all sync.WaitGroup
			for range 10 {
				all.Go(func() { take(t, p) })
			}
			all.Wait()
			require.LessOrEqual(t, server.sent("select @@transaction_isolation"), before+1)
		}
		p.Close()
	})
}
