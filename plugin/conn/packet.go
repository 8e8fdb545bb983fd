package conn

import (
	"database/sql/driver"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// maxPacket is the size in bytes, before escaping, up to which statements are sent together. It is well below what
// vtgate and MySQL take (16 MiB a message between vtgate and vttablet, 64 MiB a packet); a larger statement goes alone.
const maxPacket = 4 << 20

// packet is what goes to the server at once: the text of one or more statements, with a value for each placeholder.
type packet struct {
	sql  string
	args []driver.NamedValue
}

// single returns a packet of one statement.
func single(statement *router.Statement, args []driver.NamedValue) packet {
	return packet{statement.SQL, bind(statement, args)}
}

const separator = "; "

// join returns a packet of what waits and, if given, a last statement, with BEGIN before all if the server has not got it. A
// text that is not empty is put behind each statement that waits. The values are valid until the next call.
func (t *transaction) join(writes []*write, behindEach string, last *router.Plan, args []driver.NamedValue) (p packet, statements int) {
	length := len(begin)
	for _, w := range writes {
		length += len(w.plan.Statement.SQL) + len(behindEach) + 2*len(separator)
	}
	if last != nil {
		length += len(separator) + len(last.Statement.SQL)
	}
	var text strings.Builder
	text.Grow(length)
	add := func(sql string) {
		if statements > 0 {
			text.WriteString(separator)
		}
		text.WriteString(sql)
		statements++
	}
	if !t.begun {
		add(begin)
	}
	values, plans := t.conn.scratch.args[:0], t.conn.scratch.plans[:0]
	for _, w := range writes {
		add(w.plan.Statement.SQL)
		if behindEach != "" {
			add(behindEach)
		}
		values = append(values, w.args...)
		plans = append(plans, w.plan)
	}
	if last != nil {
		add(last.Statement.SQL)
		values = append(values, args...)
		plans = append(plans, last)
	}
	for i := range values {
		values[i].Ordinal = i + 1
	}
	t.conn.scratch.args, t.conn.scratch.plans = values, plans
	return packet{text.String(), values}, statements
}

// sizeOf estimates what a statement adds to a packet, in bytes before escaping.
func sizeOf(statement *router.Statement, args []driver.NamedValue) int {
	size := len(statement.SQL)
	for _, arg := range args {
		switch value := arg.Value.(type) {
		case []byte:
			size += len(value)
		case string:
			size += len(value)
		}
	}
	return size
}

// bind returns the values of a statement's placeholders.
func bind(statement *router.Statement, args []driver.NamedValue) []driver.NamedValue {
	if statement.Args == nil {
		return args
	}
	bound := make([]driver.NamedValue, len(statement.Args))
	for i, arg := range statement.Args {
		switch {
		case arg.Index < 0:
			bound[i].Value = arg.Text
		case arg.Index < len(args):
			bound[i].Value = args[arg.Index].Value
		default: // the caller gave too few, which is reported
			return args
		}
		bound[i].Ordinal = i + 1
	}
	return bound
}
