package wire

import (
	"sync"

	"vitess.io/vitess/go/vt/sqlparser"
)

// Counts are what went over the wire.
type Counts struct {
	// RoundTrips are the times that the client waited for the server: answers that began after the client had sent
	// something.
	RoundTrips int64
	// Commands are those that the server answers (so without the closing of prepared statements), each of them one
	// packet: a query, however many statements it has, a PREPARE, an EXECUTE...
	Commands int64
	// Statements are those in the queries, and the executed prepared ones. BEGIN and COMMIT are statements too.
	Statements int64
	// BytesSent came from the client, BytesReceived from the server.
	BytesSent, BytesReceived int64
}

// Commands of the MySQL protocol, by the first byte of their packet:
// https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_command_phase.html
const (
	comQuit         = 0x01
	comQuery        = 0x03
	comStmtExecute  = 0x17
	comStmtLongData = 0x18
	comStmtClose    = 0x19
)

// counter counts while it is on.
type counter struct {
	mutex  sync.Mutex
	on     bool
	counts Counts
}

// stream is the state of one connection.
type stream struct {
	commands commandReader
	// waiting is set from the client's sending to the server's answer.
	waiting bool
}

func (c *counter) start() {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.on, c.counts = true, Counts{}
}

func (c *counter) stop() Counts {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.on = false
	return c.counts
}

func (c *counter) sent(s *stream, data []byte) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.on {
		return
	}
	c.counts.BytesSent += int64(len(data))
	s.waiting = true
	s.commands.read(data, func(command []byte) {
		switch command[0] {
		case comQuit, comStmtLongData, comStmtClose:
			return
		case comQuery:
			c.counts.Statements += countStatements(string(command[1:]))
		case comStmtExecute:
			c.counts.Statements++
		}
		c.counts.Commands++
	})
}

func (c *counter) received(s *stream, data []byte) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if !c.on {
		return
	}
	c.counts.BytesReceived += int64(len(data))
	if s.waiting {
		s.waiting = false
		c.counts.RoundTrips++
	}
}

var parser = sqlparser.NewTestParser()

func countStatements(query string) int64 {
	pieces, err := parser.SplitStatementToPieces(query)
	if err != nil {
		return 1 // the server says what is wrong with it
	}
	return int64(len(pieces))
}

// commandReader finds the commands in what a client sends, which comes in pieces of any length. Packets of more than
// 16 MB, which are sent in several, count as what the first one holds.
type commandReader struct {
	packet []byte // header and payload, as far as they have come
}

const headerLength = 4 // three bytes of payload length, one of sequence number

func (r *commandReader) read(data []byte, each func(command []byte)) {
	r.packet = append(r.packet, data...)
	for len(r.packet) >= headerLength {
		length := headerLength + int(r.packet[0]) + int(r.packet[1])<<8 + int(r.packet[2])<<16
		if len(r.packet) < length {
			return
		}
		// Sequence numbers start anew with each command; answers in the login phase go on counting.
		if sequence := r.packet[3]; sequence == 0 && length > headerLength {
			each(r.packet[headerLength:length])
		}
		r.packet = r.packet[length:]
	}
}
