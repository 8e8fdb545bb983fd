package pipelining

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/config"
)

// proxy stands between a store and vtgate. It counts round trips, and cuts connections where a test wants it.
type proxy struct {
	listener net.Listener
	target   string

	mu          sync.Mutex
	connections map[*proxied]struct{}
	roundTrips  int
	// cut is asked with each text from the client and says what to do with the connection.
	cut func(sent []byte) cut
}

// cut says where a connection is cut.
type cut int

const (
	// noCut passes on.
	noCut cut = iota
	// before the server gets the packet.
	before
	// during: the server gets it, the client no answer.
	during
	// after the server has answered, of which the client gets nothing.
	after
)

// proxied is a connection with both of its ends.
type proxied struct {
	client, server net.Conn
	// answered is set while the next bytes from the client start a round trip. Under proxy.mu.
	answered bool
	// swallow: the next answer of the server ends the connection. Under proxy.mu.
	swallow bool
}

func (c *proxied) close() {
	_ = c.client.Close()
	_ = c.server.Close()
}

// startProxy starts a proxy to vtgate for the time of a test, and returns it with a configuration that goes through it.
func startProxy(t *testing.T, cfg *config.SQL) (*proxy, *config.SQL) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{listener: listener, target: cfg.ConnectAddr, connections: map[*proxied]struct{}{}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.accept()
	}()
	t.Cleanup(func() {
		_ = listener.Close()
		p.cutAll()
		<-done
	})
	changed := *cfg
	changed.ConnectAddr = listener.Addr().String()
	return p, &changed
}

func (p *proxy) accept() {
	var running sync.WaitGroup
	defer running.Wait()
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.target)
		if err != nil {
			_ = client.Close()
			continue
		}
		c := &proxied{client: client, server: server}
		p.mu.Lock()
		p.connections[c] = struct{}{}
		p.mu.Unlock()
		running.Go(func() { p.toServer(c) })
		running.Go(func() { p.toClient(c) })
	}
}

func (p *proxy) toServer(c *proxied) {
	defer c.close()
	buffer := make([]byte, 64<<10)
	for {
		n, err := c.client.Read(buffer)
		if err != nil {
			return
		}
		if c.decide(p, buffer[:n]) == before {
			return
		}
		if _, err := c.server.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// decide counts what the client sent, and returns what to do with it.
func (c *proxied) decide(p *proxy, sent []byte) cut {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.answered {
		c.answered = false
		p.roundTrips++
	}
	if p.cut == nil {
		return noCut
	}
	decision := p.cut(sent)
	switch decision {
	case during: // the client is told at once, the server gets the rest
		_ = c.client.Close()
	case after:
		c.swallow = true
	}
	return decision
}

func (p *proxy) toClient(c *proxied) {
	defer func() {
		c.close()
		p.mu.Lock()
		delete(p.connections, c)
		p.mu.Unlock()
	}()
	buffer := make([]byte, 64<<10)
	for {
		n, err := c.server.Read(buffer)
		if err != nil {
			return
		}
		p.mu.Lock()
		c.answered = true
		swallow := c.swallow
		p.mu.Unlock()
		if swallow {
			return
		}
		if _, err := c.client.Write(buffer[:n]); err != nil {
			_, _ = io.Copy(io.Discard, c.server)
			return
		}
	}
}

// cutAll ends all connections, as the end of a vtgate does.
func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.connections {
		c.close()
	}
}

// cutAt cuts the connection of the next packet that holds a text.
func (p *proxy) cutAt(text string, where cut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = func(sent []byte) cut {
		if !bytes.Contains(sent, []byte(text)) {
			return noCut
		}
		p.cut = nil
		return where
	}
}

// hasCut reports whether cutAt has come to its packet.
func (p *proxy) hasCut() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.cut == nil
}

// count returns the round trips of what do does.
func (p *proxy) count(do func()) int {
	p.mu.Lock()
	before := p.roundTrips
	p.mu.Unlock()
	do()
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.roundTrips - before
}
