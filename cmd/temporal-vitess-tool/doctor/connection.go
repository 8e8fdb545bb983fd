package doctor

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"fmt"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/blang/semver/v4"
	"github.com/google/uuid"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/vtgates"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// settingsTimeout is how long a session with system variables of the connectAttributes may take to open, which a Vitess shard
// that hangs does not let it.
const settingsTimeout = 10 * time.Second

func checkReachability(ctx context.Context, e *examination, seen *observations) error {
	connector, first := e.VTGate, ctx
	if e.BareVTGate != nil {
		var cancel context.CancelFunc
		first, cancel = context.WithTimeout(ctx, settingsTimeout)
		defer cancel()
	}
	db, err := live.Connect(first, connector)
	if err != nil && e.BareVTGate != nil {
		var bareErr error
		if db, bareErr = live.Connect(ctx, e.BareVTGate); bareErr == nil {
			connector = e.BareVTGate
			seen.fail("a server answers at %s, but opens no session with the connectAttributes: %v", e.Address, err)
			seen.advise("If keyspaces names a Vitess shard that is down, that is why: vtgate checks system variables on one. Else correct the attribute that the error names.")
			err = nil
		}
	}
	if err != nil {
		seen.fail("%v", err)
		return nil
	}
	is, err := live.IsVTGate(ctx, db)
	switch {
	case err != nil:
		seen.fail("%v", err)
	case !is && !e.oneDatabase():
		seen.fail("a MySQL server answers, not a vtgate: check --endpoint and --port (vtgate's MySQL port). If Temporal is to run on MySQL without Vitess, name its database as --keyspace and --global-keyspace")
	}
	if err != nil || !is && !e.oneDatabase() {
		_ = db.Close()
		return nil
	}
	e.vitess, e.plain = &live.Vitess{DB: db}, !is
	if e.plain {
		seen.pass("a MySQL server at %s answers, without Vitess", e.Address)
		return nil
	}
	seen.pass("vtgate at %s answers", e.Address)
	if e.VTCtld == "" {
		seen.pass("vtctld is not asked: without --vtctld, some checks see less")
		return nil
	}
	withVTCtld, err := live.Open(ctx, connector, e.VTCtld)
	if err != nil {
		seen.fail("%v", err)
		return nil
	}
	_ = db.Close()
	e.vitess = withVTCtld
	seen.pass("vtctld answers")
	return nil
}

func checkTLS(_ context.Context, e *examination, seen *observations) error {
	host, _, err := net.SplitHostPort(e.Address)
	if err != nil {
		return err
	}
	ip := net.ParseIP(host)
	switch {
	case e.TLS != nil && !e.TLS.EnableHostVerification:
		seen.warn("the connection is encrypted, but vtgate's certificate is not verified")
	case e.TLS != nil:
		seen.pass("the connection is encrypted, and vtgate's certificate verified")
	case host == "localhost" || ip != nil && ip.IsLoopback():
		seen.pass("the connection is not encrypted, and stays on this machine")
	default:
		seen.warn("the connection to %s is not encrypted", e.Address)
	}
	return nil
}

// sessionsToVTGates is how many sessions are opened at once to see whether several vtgates are behind one address.
const sessionsToVTGates = 8

func checkVTGates(ctx context.Context, e *examination, seen *observations) error {
	connectAddr := e.ConnectAddr
	if connectAddr == "" {
		connectAddr = e.Address
	}
	addresses := map[string]bool{}
	for address := range strings.SplitSeq(connectAddr, ",") {
		host, port, err := vtgates.SplitHostPort(strings.TrimSpace(address))
		if err != nil {
			return fmt.Errorf("%q has to be host:port: %w", address, err)
		}
		found, err := net.DefaultResolver.LookupHost(ctx, host)
		if err != nil { // names may be known to Temporal's machines only
			found = []string{host}
		}
		for _, ip := range found {
			addresses[net.JoinHostPort(ip, port)] = true
		}
	}
	if len(addresses) > 1 {
		seen.pass("%s stands for %d addresses", connectAddr, len(addresses))
		return nil
	}
	several, err := e.severalVTGates(ctx)
	switch {
	case several && e.ConnectAddr == "":
		seen.pass("several vtgates are behind %s", connectAddr)
	case e.Replicas == 0:
		seen.pass("%s is one address, which is enough for a trial (--replicas 0)", connectAddr)
	case err != nil:
		seen.skip("%s is one address, and what is behind it cannot be seen: %v", connectAddr, err)
	default:
		seen.warn("%s is one address, and %d connections at once reached one vtgate", connectAddr, sessionsToVTGates)
	}
	return nil
}

// severalVTGates reports whether connections that are opened at once reach different vtgates. The identifier of a session
// is a UUID of version 1 (go/vt/vtgate/plugin_mysql_server.go): the machine, and a number that each process draws and counts
// up where two are asked for at the same time.
func (e *examination) severalVTGates(ctx context.Context) (bool, error) {
	const drift = 8 // of that number, among sessions that were opened at once
	var first uuid.UUID
	for i := range sessionsToVTGates {
		session, err := e.vitess.DB.Conn(ctx)
		if err != nil {
			return false, err
		}
		defer session.Close() // after all are open
		var text string
		if err := session.QueryRowContext(ctx, "SELECT @@session_uuid").Scan(&text); err != nil {
			return false, err
		}
		id, err := uuid.Parse(text)
		if err != nil {
			return false, fmt.Errorf("@@session_uuid: %w", err)
		}
		if i == 0 {
			first = id
		}
		apart := id.ClockSequence() - first.ClockSequence()
		if !slices.Equal(id.NodeID(), first.NodeID()) || max(apart, -apart) > drift {
			return true, nil
		}
	}
	return false, nil
}

// Versions that this project's tests run on.
const (
	testedVitessMajor = 24
	testedMySQL       = "9.7"
)

// The versions of MySQL that have multi-valued indexes, which the visibility schema uses, and are not newer than what is
// tested.
var (
	firstMySQL = semver.MustParse("8.0.17")
	afterMySQL = semver.MustParse("10.0.0")
)

var versionNumber = regexp.MustCompile(`\d+\.\d+(\.\d+)?`)

func checkVersions(ctx context.Context, e *examination, seen *observations) error {
	if !e.plain {
		var comment string
		if err := e.vitess.DB.QueryRowContext(ctx, "SELECT @@version_comment").Scan(&comment); err != nil {
			return err
		}
		judgeVitess(comment, seen)
	}
	e.onEach(ctx, e.homes, seen, func(ctx context.Context, _ place, session *sql.Conn, seen *observations) error {
		var version string
		if err := session.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
			return err
		}
		judgeMySQL(version, seen)
		return nil
	})
	return nil
}

// judgeVitess reads vtgate's version_comment, such as "Version: 24.0.3 (Git revision …".
func judgeVitess(comment string, seen *observations) {
	version, err := semver.ParseTolerant(versionNumber.FindString(comment))
	switch {
	case err != nil:
		seen.warn("vtgate does not tell its version: %q", comment)
	case version.Major != testedVitessMajor:
		seen.warn("vtgate is Vitess %s; this project is tested with %d", version, testedVitessMajor)
	default:
		seen.pass("vtgate is Vitess %s", version)
	}
}

// judgeMySQL reads the version of a mysqld, such as "8.0.36-28".
func judgeMySQL(text string, seen *observations) {
	version, err := semver.ParseTolerant(versionNumber.FindString(text))
	switch {
	case err != nil || strings.Contains(text, "MariaDB"):
		seen.fail("%s is not MySQL", text)
	case version.LT(firstMySQL):
		seen.fail("MySQL %s, older than %s", text, firstMySQL)
	case version.GTE(afterMySQL):
		seen.warn("MySQL %s; this project is tested with %s", text, testedMySQL)
	default:
		seen.pass("MySQL %s", text)
	}
}

func checkTransactionMode(ctx context.Context, e *examination, seen *observations) error {
	session, err := e.vitess.DB.Conn(ctx)
	if err != nil {
		return err
	}
	// What is set here must not get back into the pool.
	defer func() { _ = session.Raw(func(any) error { return driver.ErrBadConn }) }()
	var before, after string
	if err := session.QueryRowContext(ctx, "SELECT @@transaction_mode").Scan(&before); err != nil {
		return err
	}
	if _, err := session.ExecContext(ctx, "SET transaction_mode='single'"); err != nil {
		seen.fail("vtgate refuses transaction_mode='single', which the plugin asks for: %v", err)
		return nil
	}
	if err := session.QueryRowContext(ctx, "SELECT @@transaction_mode").Scan(&after); err != nil {
		return err
	}
	if after != "SINGLE" {
		seen.fail("after SET transaction_mode='single' the session has %s", after)
		return nil
	}
	seen.pass("the plugin's sessions have SINGLE; vtgate's own default is %s", before)
	return nil
}

// isolation that upstream's plugin asks for, too.
const wantedIsolation = "READ-COMMITTED"

func checkIsolation(ctx context.Context, e *examination, seen *observations) error {
	const variable = "transaction_isolation"
	// vtgate answers @@transaction_isolation by itself, with what the session asked for. These tables need no privilege.
	read := func(ctx context.Context, session *sql.Conn, table string) (isolation string, err error) {
		err = session.QueryRowContext(ctx, "SELECT variable_value FROM performance_schema."+table+" WHERE variable_name = '"+variable+"'").Scan(&isolation)
		return isolation, err
	}
	e.onEach(ctx, e.homes, seen, func(ctx context.Context, _ place, session *sql.Conn, seen *observations) error {
		own, err := read(ctx, session, "global_variables")
		if err != nil {
			return err
		}
		if own == wantedIsolation {
			seen.pass("%s", own)
			return nil
		}
		if e.plain {
			seen.pass("%s is mysqld's own, and the plugin's connections have %s", own, wantedIsolation)
			return nil
		}
		if _, err := session.ExecContext(ctx, "SET "+variable+"='"+wantedIsolation+"'"); err != nil {
			return err
		}
		defer func() { _, _ = session.ExecContext(context.WithoutCancel(ctx), "SET "+variable+"='"+own+"'") }()
		asked, err := read(ctx, session, "session_variables")
		switch {
		case err != nil:
			return err
		case asked == wantedIsolation:
			seen.warn("%s is mysqld's own: the plugin's connections ask a Vitess shard before they have another", own)
		default:
			seen.fail("%s, though the session asks for %s", asked, wantedIsolation)
		}
		return nil
	})
	return nil
}

func checkFoundRows(ctx context.Context, e *examination, seen *observations) error {
	var on bool
	if err := e.vitess.DB.QueryRowContext(ctx, "SELECT @@client_found_rows").Scan(&on); err != nil {
		return err
	}
	if on {
		seen.pass("an UPDATE counts the rows that it finds")
	} else {
		seen.fail("an UPDATE counts only the rows that it changes")
	}
	return nil
}

func checkMultiStatements(ctx context.Context, e *examination, seen *observations) error {
	rows, err := e.vitess.DB.QueryContext(ctx, "SELECT 1; SELECT 2")
	if live.Refused(err, live.ErrnoSyntax, live.ErrnoManyParsed) {
		seen.warn("two statements in one packet are refused: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	defer rows.Close()
	if !rows.NextResultSet() {
		seen.warn("of two statements in one packet, only one has an answer: %v", rows.Err())
		return nil
	}
	seen.pass("two statements in one packet have two answers")
	return rows.Err()
}

// largestStatement is the size in bytes of the largest statement that Temporal makes: history events up to its limit for
// a transaction (4 MiB), with every byte escaped.
const largestStatement = 8 << 20

func checkPacketSize(ctx context.Context, e *examination, seen *observations) error {
	const variable = "max_allowed_packet"
	e.onEachVariables(ctx, seen, []string{variable}, func(values map[string]string, seen *observations) {
		size, err := strconv.Atoi(values[variable])
		switch {
		case err != nil:
			seen.fail("%s is %q", variable, values[variable])
		case size <= largestStatement:
			seen.fail("%s is %d bytes, less than the %d of a large statement", variable, size, largestStatement)
		default:
			seen.pass("%s is %d bytes", variable, size)
		}
	})
	h := e.home(vschema.Main)
	if len(h.places) == 0 {
		return nil
	}
	// The way to mysqld has limits of its own: vtgate's --max-payload-size, and gRPC's between vtgate and vttablet.
	return e.on(ctx, h.places[0], func(session *sql.Conn) error {
		var length int
		err := session.QueryRowContext(ctx, "SELECT LENGTH('"+strings.Repeat("x", largestStatement)+"')").Scan(&length)
		if err != nil {
			text := err.Error() // may repeat the statement
			seen.fail("a statement of %d bytes does not reach %s: %.300s", largestStatement, h.places[0], text)
			return nil
		}
		seen.pass("a statement of %d bytes reaches %s", largestStatement, h.places[0])
		return nil
	})
}

// onEachVariables calls judge with system variables of the plugin's session on each place's mysqld.
func (e *examination) onEachVariables(ctx context.Context, seen *observations, names []string, judge func(values map[string]string, seen *observations)) {
	// vtgate answers @@transaction_isolation and the like by itself, with what the session asked for. This table needs no
	// privilege.
	query := "SELECT variable_name, variable_value FROM performance_schema.session_variables WHERE variable_name IN ('" + strings.Join(names, "', '") + "')"
	e.onEach(ctx, e.homes, seen, func(ctx context.Context, _ place, session *sql.Conn, seen *observations) error {
		values := map[string]string{}
		var variable, value string
		err := live.EachRow(ctx, session, query, nil, func() error {
			values[variable] = value
			return nil
		}, &variable, &value)
		if err != nil {
			return err
		}
		judge(values, seen)
		return nil
	})
}
