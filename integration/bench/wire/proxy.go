// Package wire puts a network of one's own choice between a client and its server: a TCP proxy that adds a delay and, where
// they speak the MySQL protocol, counts what goes over the connection.
//
// It is a proxy of its own because the delay has to be exact to be compared: that of Toxiproxy's latency toxic is a
// time.Sleep, which is late by as much as the delay that is measured here.
package wire

import (
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Proxy passes the connections to an address on to a server.
type Proxy struct {
	listener net.Listener
	server   string
	oneWay   atomic.Int64 // nanoseconds
	line     chan segment
	counter  counter

	running     sync.WaitGroup // all goroutines but that of line
	mutex       sync.Mutex
	connections map[net.Conn]struct{}
	closed      bool
}

// segment is what was read at once from one side of a connection. No data means that this side ended.
type segment struct {
	due    time.Time
	data   []byte
	to     net.Conn
	onLine *atomic.Int64 // how many of the same direction of the connection are not delivered yet
}

// Listen starts a proxy to a server on a free port of 127.0.0.1. It delays and counts nothing yet.
func Listen(server string) (*Proxy, error) { return ListenOn("127.0.0.1:0", server) }

// ListenOn starts a proxy as Listen does, on an address of the caller's choice.
func ListenOn(address, server string) (*Proxy, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: listener, server: server, line: make(chan segment, 1024), connections: map[net.Conn]struct{}{}}
	go p.deliver()
	p.running.Go(p.accept)
	return p, nil
}

// Addr is the host:port that leads to the server.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// SetDelay sets the network's round trip time, half of which each direction takes. What is on its way arrives when it
// would have, and what follows on the same connection after it.
func (p *Proxy) SetDelay(roundTrip time.Duration) { p.oneWay.Store(int64(roundTrip / 2)) }

// Count returns what goes over the wire while call runs. All connections have to be idle before and after.
func (p *Proxy) Count(call func() error) (Counts, error) {
	p.counter.start()
	err := call()
	return p.counter.stop(), err
}

// Close closes all connections, and returns when nothing of the proxy runs any more.
func (p *Proxy) Close() error {
	err := p.listener.Close()
	p.mutex.Lock()
	p.closed = true
	for connection := range p.connections {
		_ = connection.Close()
	}
	p.mutex.Unlock()
	p.running.Wait()
	close(p.line)
	return err
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return // closed
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil {
			_ = client.Close() // which the client reports
			continue
		}
		if !p.register(client, server) {
			return
		}
		stream := &stream{}
		p.running.Go(func() { p.pass(client, server, func(data []byte) { p.counter.sent(stream, data) }) })
		p.running.Go(func() { p.pass(server, client, func(data []byte) { p.counter.received(stream, data) }) })
	}
}

// register makes the connections known to Close, or closes them if that has been called.
func (p *Proxy) register(connections ...net.Conn) bool {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	for _, connection := range connections {
		p.connections[connection] = struct{}{}
		if p.closed {
			_ = connection.Close()
		}
	}
	return !p.closed
}

// pass reads one direction of a connection to its end. It never waits for what it has read to be delivered, so that
// each segment takes the delay from its own arrival.
func (p *Proxy) pass(from, to net.Conn, count func([]byte)) {
	buffer := make([]byte, 64<<10)
	onLine := &atomic.Int64{}
	for {
		n, err := from.Read(buffer)
		now, oneWay := time.Now(), time.Duration(p.oneWay.Load())
		if n > 0 {
			count(buffer[:n])
			if oneWay > 0 || onLine.Load() > 0 {
				onLine.Add(1)
				p.line <- segment{now.Add(oneWay), append([]byte(nil), buffer[:n]...), to, onLine}
			} else if _, err := to.Write(buffer[:n]); err != nil {
				_ = from.Close() // ends the loop
			}
		}
		if err != nil {
			p.line <- segment{due: now.Add(oneWay), to: to}
			return
		}
	}
}

// deliver hands over the segments of all connections when they are due. The delay is the same for all, so they are due
// in the order of their arrival, but for those that follow a delay that has shrunk.
func (p *Proxy) deliver() {
	for segment := range p.line {
		waitUntil(segment.due)
		if segment.data == nil {
			p.mutex.Lock()
			delete(p.connections, segment.to)
			p.mutex.Unlock()
			_ = segment.to.Close()
			continue
		}
		_, _ = segment.to.Write(segment.data) // the reader of that connection sees its end
		segment.onLine.Add(-1)
	}
}
