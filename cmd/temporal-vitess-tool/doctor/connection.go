package doctor

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"net"
	"regexp"
	"strconv"
	"strings"

	"github.com/blang/semver/v4"
	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Errors of MySQL servers, by their numbers.
const (
	errSyntax     = 1064
	errManyParsed = 1149 // vtgate's answer to several statements, if the client has not announced them
	errAborted    = 1317
)

func serverError(err error, numbers ...uint16) bool {
	var server *mysql.MySQLError
	if !errors.As(err, &server) {
		return false
	}
	for _, number := range numbers {
		if server.Number == number {
			return true
		}
	}
	return false
}

func checkReachability(ctx context.Context, e *examination, seen *observations) error {
	opened, err := e.Open(ctx)
	if err != nil {
		seen.fail("%v", err)
		return nil
	}
	e.vitess = opened
	seen.pass("vtgate at %s answers", e.Address)
	if opened.VTCtld != nil {
		seen.pass("vtctld answers")
	} else {
		seen.pass("vtctld is not asked: without --vtctld, some checks see less")
	}
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
	var comment string
	if err := e.vitess.DB.QueryRowContext(ctx, "SELECT @@version_comment").Scan(&comment); err != nil {
		return err
	}
	judgeVitess(comment, seen)
	return e.onEach(ctx, seen, func(ctx context.Context, _ vschema.Role, _ string, session *sql.Conn, seen *observations) error {
		var version string
		if err := session.QueryRowContext(ctx, "SELECT VERSION()").Scan(&version); err != nil {
			return err
		}
		judgeMySQL(version, seen)
		return nil
	})
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
	return e.onEachVariables(ctx, seen, []string{"transaction_isolation"}, func(values map[string]string, seen *observations) {
		switch isolation := values["transaction_isolation"]; isolation {
		case wantedIsolation:
			seen.pass("%s", isolation)
		default:
			seen.fail("%s, though the session asks for %s", isolation, wantedIsolation)
		}
	})
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
	if serverError(err, errSyntax, errManyParsed) {
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
	err := e.onEachVariables(ctx, seen, []string{variable}, func(values map[string]string, seen *observations) {
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
	if err != nil || !e.skipUnlessThere(vschema.Main, seen) {
		return err
	}
	// The way to mysqld has limits of its own: vtgate's --max-payload-size, and gRPC's between vtgate and vttablet.
	keyspace, vitessShard := e.Keyspaces[vschema.Main], e.vitessShards[vschema.Main][0]
	return e.vitess.On(ctx, keyspace, vitessShard, func(session *sql.Conn) error {
		var length int
		err := session.QueryRowContext(ctx, "SELECT LENGTH('"+strings.Repeat("x", largestStatement)+"')").Scan(&length)
		if err != nil {
			text := err.Error() // may repeat the statement
			seen.fail("a statement of %d bytes does not reach %s/%s: %.300s", largestStatement, keyspace, vitessShard, text)
			return nil
		}
		seen.pass("a statement of %d bytes reaches %s/%s", largestStatement, keyspace, vitessShard)
		return nil
	})
}

// onEachVariables calls judge with system variables of the plugin's session on each Vitess shard's mysqld.
func (e *examination) onEachVariables(ctx context.Context, seen *observations, names []string, judge func(values map[string]string, seen *observations)) error {
	// vtgate answers @@transaction_isolation and the like by itself, with what the session asked for. This table needs no
	// privilege.
	query := "SELECT variable_name, variable_value FROM performance_schema.session_variables WHERE variable_name IN ('" + strings.Join(names, "', '") + "')"
	return e.onEach(ctx, seen, func(ctx context.Context, _ vschema.Role, _ string, session *sql.Conn, seen *observations) error {
		values := map[string]string{}
		var variable, value string
		err := scan(ctx, session, query, func() error {
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
