package vtgates

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"

	"github.com/go-sql-driver/mysql"
)

// Numbers of the errors of a login.
const (
	errnoAccessDenied            = 1045
	errnoTooManyConnections      = 1040
	errnoUnknownDatabase         = 1049
	errnoSecureTransportRequired = 3159 // MySQL's; vtgate has a text
)

// Options are the names under which a user has given what a connection needs.
type Options struct {
	// Address, Login and Password as in "check ADDRESS"; Password is the command that yields it.
	Address, Login, Password string
	// TLS is the switch, as in "set TLS" and "leave out TLS".
	TLS, NoTLS string
	// Authority, ServerName and Certificate are those of TLS.
	Authority, ServerName, Certificate string
	// Keyspace is the default keyspace.
	Keyspace string
}

// NoSuchKeyspace reports whether an error says that a keyspace, or a database of MySQL, does not exist.
func NoSuchKeyspace(err error) bool {
	answer, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && answer.Number == errnoUnknownDatabase
}

// Explain says what to do about an error of connecting, in the words of options.
func Explain(err error, o Options) error {
	_, certificate := errors.AsType[*tls.CertificateVerificationError](err)
	_, lookup := errors.AsType[*net.DNSError](err)
	_, dial := errors.AsType[*net.OpError](err)
	_, command := errors.AsType[*exec.ExitError](err)
	var answer mysql.MySQLError
	if server, ok := errors.AsType[*mysql.MySQLError](err); ok {
		answer = *server
	}
	switch {
	case command:
		return fmt.Errorf("no password: %w: check %s", err, o.Password)
	case answer.Number == errnoAccessDenied:
		return fmt.Errorf("vtgate refuses the login: %w: check %s", err, o.Login)
	case answer.Number == errnoSecureTransportRequired, strings.Contains(err.Error(), "must use SSL/TLS"):
		return fmt.Errorf("vtgate takes sessions with TLS only: %s", o.TLS)
	case answer.Number == errnoTooManyConnections:
		return fmt.Errorf("vtgate takes no more connections: %w", err)
	case NoSuchKeyspace(err):
		return fmt.Errorf("%w: create the keyspace (vtctldclient CreateKeyspace), or check %s", err, o.Keyspace)
	case errors.Is(err, mysql.ErrNoTLS):
		return fmt.Errorf("%w: %s, or start vtgate with --mysql-server-ssl-cert and --mysql-server-ssl-key", err, o.NoTLS)
	case certificate:
		return fmt.Errorf("vtgate's certificate: %w: give the authority that signed it (%s) and the name in it (%s)", err, o.Authority, o.ServerName)
	case errors.Is(err, mysql.ErrInvalidConn):
		return fmt.Errorf("vtgate ends the connection during the login: %w: check whether it wants a certificate (%s), and %s (vtgate's MySQL port)", err, o.Certificate, o.Address)
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Errorf("no vtgate answers in time: %w: check %s (vtgate's MySQL port, not that of gRPC or HTTP), and firewalls", err, o.Address)
	case lookup:
		return fmt.Errorf("vtgate's host is not known: %w: check %s", err, o.Address)
	case dial:
		return fmt.Errorf("nobody answers as vtgate: %w: check %s (vtgate's MySQL port)", err, o.Address)
	default:
		return fmt.Errorf("connect to vtgate: %w", err)
	}
}
