package conn

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/go-sql-driver/mysql"

	"github.com/temporal-vitess/temporal-vitess/internal/outcome"
	"github.com/temporal-vitess/temporal-vitess/internal/router"
)

// maxPacket is the size in bytes, before escaping, up to which statements are sent together. It is well below what
// vtgate and MySQL take (16 MiB a message between vtgate and vttablet, 64 MiB a packet); a larger statement goes alone.
const maxPacket = 4 << 20

// packet is what goes to the server at once: the text of one or more statements, with a value for each placeholder. It
// knows which statement each result belongs to.
type packet struct {
	sql  string
	args []driver.NamedValue
	// group of the sessions, see places.
	group string
	holds outcome.Holds
	// cause of sending it, and the workload that it is of, for metrics.
	cause    string
	workload router.Workload
	// writes are the statements whose results are kept for their callers, in order.
	writes []*write
	// last is the statement behind them, nil if there is none.
	last *router.Plan
	// first is the number of results before that of the first write.
	first int
	// result and rows are the answer, one of them.
	result driver.Result
	rows   sessionRows
}

// single returns a packet of one statement.
func single(plan *router.Plan, statement *router.Statement, args []driver.NamedValue, holds outcome.Holds) packet {
	return packet{sql: statement.SQL, args: bind(statement, args), holds: holds, cause: causeAlone, workload: plan.Workload, last: plan}
}

const separator = "; "

// rowCount is put behind each waiting write in a packet that ends with a SELECT or INSERT. Its result is the row count
// of the statement before it, which the driver does not tell otherwise, and shows that this one succeeded. Vtgate
// answers it itself.
const rowCount = "select row_count()"

// join returns a packet of what waits and, if given, a last statement, with BEGIN before all if the server has not got
// it. With counted, the row count of each write has a result of its own. The values are valid until the next call.
func (t *transaction) join(writes []*write, counted bool, last *router.Plan, args []driver.NamedValue) packet {
	length := len(begin)
	for _, w := range writes {
		length += len(w.plan.Statement.SQL) + len(rowCount) + 2*len(separator)
	}
	if last != nil {
		length += len(separator) + len(last.Statement.SQL)
	}
	var text strings.Builder
	text.Grow(length)
	add := func(sql string) {
		if text.Len() > 0 {
			text.WriteString(separator)
		}
		text.WriteString(sql)
	}
	p := packet{writes: writes, last: last, group: t.group, holds: outcome.Uncommitted, workload: t.workload}
	if t.state() == txUnsent {
		p.first = 1
		add(begin)
	}
	values := t.conn.scratch.args[:0]
	for _, w := range writes {
		add(w.plan.Statement.SQL)
		if counted && w.check == "" { // which has a result of its own
			add(rowCount)
		}
		values = append(values, w.args...)
	}
	if last != nil {
		add(last.Statement.SQL)
		values = append(values, args...)
		if last == commit {
			p.holds = outcome.Committing
		}
	}
	for i := range values {
		values[i].Ordinal = i + 1
	}
	t.conn.scratch.args = values
	p.sql, p.args = text.String(), values
	return p
}

// doing names the statements for an error.
func (p *packet) doing() string {
	var names []string
	for _, w := range p.writes {
		names = append(names, w.plan.Name())
	}
	if p.last != nil {
		names = append(names, p.last.Name())
	}
	const most = 4
	if len(names) > most {
		names = append(names[:most], fmt.Sprintf("%d more", len(names)-most))
	}
	return strings.Join(names, ", ")
}

// routes says where the statements go, for the log.
func (p *packet) routes() []string {
	var routes []string
	add := func(plan *router.Plan) {
		if plan == nil || plan.Table == "" {
			return
		}
		route := fmt.Sprintf("%s.%s %s", plan.Keyspace, plan.Table, plan.Route)
		if plan.Column != "" {
			route += " by " + plan.Column
		}
		routes = append(routes, route)
	}
	for _, w := range p.writes {
		add(w.plan)
	}
	add(p.last)
	return routes
}

// arrive takes the row counts of a packet that returned no rows, and returns that of the last statement.
func (p *packet) arrive(result driver.Result) (int64, error) {
	var counts []int64
	if all, ok := result.(mysql.Result); ok {
		counts = all.AllRowsAffected()
	} else if affected, err := result.RowsAffected(); err == nil { // of a driver that takes one statement at once
		counts = []int64{affected}
	}
	statements := p.first + len(p.writes)
	if p.last != nil {
		statements++
	}
	if len(counts) != statements {
		return 0, fmt.Errorf("%d statements were sent together, but the server answered %d", statements, len(counts))
	}
	for i, w := range p.writes {
		if err := w.arrive(counts[p.first+i]); err != nil {
			return 0, err
		}
	}
	return counts[len(counts)-1], nil
}

// arriveRows takes the row counts of the writes, each a result of its own, up to the rows of the last statement. An INSERT
// has none. Met is the error of a statement, and behind the number of writes that were executed before it; broken is set
// where what was promised did not come.
func (p *packet) arriveRows(rows driver.Rows) (behind int, met, broken error) {
	if len(p.writes) == 0 {
		return 0, nil, nil
	}
	results, ok := rows.(driver.RowsNextResultSet)
	if !ok {
		return 0, nil, errors.New("the driver's rows have no further results")
	}
	for i, w := range p.writes {
		affected, err := readCount(rows)
		if err != nil {
			return i, err, nil
		}
		if err := w.arrive(affected); err != nil {
			return i, nil, err
		}
		err = results.NextResultSet()
		if err != nil && !(i == len(p.writes)-1 && errors.Is(err, io.EOF) && p.last.Insert) {
			return i + 1, err, nil
		}
	}
	return len(p.writes), nil, nil
}

func readCount(rows driver.Rows) (int64, error) {
	row := make([]driver.Value, 1)
	if err := rows.Next(row); err != nil {
		return 0, err
	}
	return number(row[0])
}

// number returns an integer, which the driver may return as text.
func number(value driver.Value) (int64, error) {
	switch value := value.(type) {
	case []byte: // as vtgate and MySQL answer
		return strconv.ParseInt(string(value), 10, 64)
	case float64: // of a check (see router.Plan), whose other branch makes it a DOUBLE
		return int64(value), nil
	}
	return strconv.ParseInt(fmt.Sprint(value), 10, 64)
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
