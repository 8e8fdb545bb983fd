package conn

import (
	"database/sql/driver"
	"strings"

	"github.com/temporal-vitess/temporal-vitess/plugin/router"
)

// maxPacket is the size in bytes, before escaping, up to which statements are sent together. It is well below what
// vtgate and MySQL take (16 MiB a message between vtgate and vttablet, 64 MiB a packet); a larger statement goes alone.
const maxPacket = 4 << 20

// packet is a text of one or more statements that goes to the server at once.
type packet struct {
	sql        strings.Builder
	args       []driver.NamedValue
	statements int
	// uneven is set if a statement has more or fewer placeholders than values: the next one would take the difference.
	uneven bool
}

func (p *packet) add(sql string, args []driver.NamedValue) {
	if p.statements > 0 {
		p.sql.WriteString("; ")
	}
	p.statements++
	p.uneven = p.uneven || strings.Count(sql, "?") != len(args)
	p.sql.WriteString(sql)
	for _, arg := range args {
		arg.Ordinal = len(p.args) + 1
		p.args = append(p.args, arg)
	}
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
