package conn

import (
	"bytes"
	"database/sql/driver"
)

// scratch is memory that a connection uses in one transaction after the other.
type scratch struct {
	// args are the values of the last packet of a transaction.
	args []driver.NamedValue
	// bytes holds small values of statements that wait. It does not grow: one that does not fit begins another.
	bytes []byte
	// key is that of the last row that was looked for among the locked ones.
	key []byte
}

const (
	scratchBytes = 32 << 10
	// maxScratchArgs is how many values a connection keeps room for. An update of a workflow has about 150.
	maxScratchArgs = 1 << 10
)

// keep copies the bytes of a statement that waits, since its caller may reuse them. The list is database/sql's, or bind's,
// made for this call.
func (s *scratch) keep(args []driver.NamedValue) []driver.NamedValue {
	for i := range args {
		if value, ok := args[i].Value.([]byte); ok && len(value) > 0 { // nil is NULL, and has to stay so
			args[i].Value = s.clone(value)
		}
	}
	return args
}

func (s *scratch) clone(value []byte) []byte {
	if len(value) > scratchBytes/8 {
		return bytes.Clone(value)
	}
	if len(value) > cap(s.bytes)-len(s.bytes) {
		s.bytes = make([]byte, 0, scratchBytes)
	}
	start := len(s.bytes)
	s.bytes = append(s.bytes, value...)
	return s.bytes[start:len(s.bytes):len(s.bytes)]
}

// release makes the memory free for the next transaction; no statement of the last one is sent after it.
func (s *scratch) release() {
	s.bytes = s.bytes[:0]
	if cap(s.args) > maxScratchArgs {
		s.args = nil
	}
	clear(s.args[:cap(s.args)]) // their large values
	s.args = s.args[:0]
}
