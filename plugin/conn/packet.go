package conn

import (
	"database/sql/driver"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// maxPacket is the size in bytes, before escaping, up to which statements are sent together. It is well below what
// vtgate and MySQL take (16 MiB a message between vtgate and vttablet, 64 MiB a packet); a larger statement goes alone.
const maxPacket = 4 << 20

// packet is what goes to the server at once: one or more statements, with their values.
type packet struct {
	statements []boundStatement
}

// boundStatement is a text with ? placeholders and a value for each.
type boundStatement struct {
	sql  string
	args []driver.NamedValue
}

func (p *packet) add(sql string, args []driver.NamedValue) {
	p.statements = append(p.statements, boundStatement{sql, args})
}

const separator = "; "

// render returns the packet as one text with its values. Several statements must not go if one has more or fewer
// placeholders than values: the next one would take the difference. That is driver.ErrSkip, as from the driver.
func (p *packet) render() (string, []driver.NamedValue, error) {
	if len(p.statements) == 1 {
		return p.statements[0].sql, p.statements[0].args, nil
	}
	length, values := 0, 0
	for _, statement := range p.statements {
		if strings.Count(statement.sql, "?") != len(statement.args) {
			return statement.sql, nil, driver.ErrSkip
		}
		length += len(statement.sql) + len(separator)
		values += len(statement.args)
	}
	var text strings.Builder
	text.Grow(length)
	args := make([]driver.NamedValue, 0, values)
	for i, statement := range p.statements {
		if i > 0 {
			text.WriteString(separator)
		}
		text.WriteString(statement.sql)
		for _, arg := range statement.args {
			arg.Ordinal = len(args) + 1
			args = append(args, arg)
		}
	}
	return text.String(), args, nil
}

// sizeOf estimates what a statement adds to a packet, in bytes before escaping.
func sizeOf(statement router.Statement, args []driver.NamedValue) int {
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
