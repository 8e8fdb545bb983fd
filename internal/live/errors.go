package live

import (
	"errors"
	"slices"

	"github.com/go-sql-driver/mysql"
)

// Numbers of the errors of vtgate and MySQL that matter to the tool.
const (
	ErrnoAccessDenied = 1045
	ErrnoSyntax       = 1064
	ErrnoNoSuchTable  = 1146
	ErrnoManyParsed   = 1149 // vtgate's answer to several statements, if the client has not announced them
	ErrnoLockWait     = 1205
	ErrnoDeadlock     = 1213
	ErrnoAborted      = 1317
)

// Refused reports whether the server answered with one of these errors.
func Refused(err error, numbers ...uint16) bool {
	server, ok := errors.AsType[*mysql.MySQLError](err)
	return ok && slices.Contains(numbers, server.Number)
}
