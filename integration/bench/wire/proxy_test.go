package wire

import (
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// packet is one packet of the MySQL protocol.
func packet(sequence byte, payload string) string {
	return string([]byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), sequence}) + payload
}

// newExchange returns a client connection through a proxy, and the server's end of it.
func newExchange(t *testing.T) (p *Proxy, client, server net.Conn) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer listener.Close()
	p, err = Listen(listener.Addr().String())
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	client, err = net.Dial("tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Close() })
	server, err = listener.Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = server.Close() })
	return p, client, server
}

// transfer writes the parts to one end, each of them after the last has come out at the other end.
func transfer(t *testing.T, from, to net.Conn, parts ...string) {
	for _, part := range parts {
		_, err := io.WriteString(from, part)
		require.NoError(t, err)
		received := make([]byte, len(part))
		_, err = io.ReadFull(to, received)
		require.NoError(t, err)
		require.Equal(t, part, string(received))
	}
}

func TestAScriptedExchangeIsCounted(t *testing.T) {
	const (
		query   = string(rune(comQuery))
		prepare = "\x16"
		execute = string(rune(comStmtExecute))
		closing = string(rune(comStmtClose))
	)
	ok := packet(1, "\x00")
	for _, test := range []struct {
		name     string
		exchange func(sent, received func(parts ...string))
		expected Counts
	}{
		{"nothing", func(_, _ func(...string)) {}, Counts{}},
		{"a query", func(sent, received func(...string)) {
			sent(packet(0, query+"select 1"))
			received(ok)
		}, Counts{RoundTrips: 1, Commands: 1, Statements: 1}},
		{"several statements in one packet, with a semicolon in a string", func(sent, received func(...string)) {
			sent(packet(0, query+`begin; insert into t values ('a;b\';', _binary';'); select 1`))
			received(ok)
			sent(packet(0, query+"commit"))
			received(ok)
		}, Counts{RoundTrips: 2, Commands: 2, Statements: 4}},
		{"an answer in several parts", func(sent, received func(...string)) {
			sent(packet(0, query+"select 1"))
			received(ok[:2], ok[2:], ok)
		}, Counts{RoundTrips: 1, Commands: 1, Statements: 1}},
		{"a packet in several parts", func(sent, received func(...string)) {
			long := packet(0, query+"select 1; select 2")
			sent(long[:3], long[3:9], long[9:])
			received(ok)
		}, Counts{RoundTrips: 1, Commands: 1, Statements: 2}},
		{"several packets before the first answer", func(sent, received func(...string)) {
			sent(packet(0, query+"select 1") + packet(0, query+"select 2"))
			received(ok + ok)
		}, Counts{RoundTrips: 1, Commands: 2, Statements: 2}},
		{"a prepared statement, whose end has no answer", func(sent, received func(...string)) {
			sent(packet(0, prepare+"select ?"))
			received(ok)
			sent(packet(0, execute+"\x01\x00\x00\x00"))
			received(ok)
			sent(packet(0, closing+"\x01\x00\x00\x00"))
			sent(packet(0, query+"select 1"))
			received(ok)
		}, Counts{RoundTrips: 3, Commands: 3, Statements: 2}},
		{"a login, which is no command", func(sent, received func(...string)) {
			received(packet(0, "greeting"))
			sent(packet(1, query+"user"))
			received(packet(2, "\x00"))
		}, Counts{RoundTrips: 1}},
	} {
		t.Run(test.name, func(t *testing.T) {
			p, client, server := newExchange(t)
			var sentBytes, receivedBytes int64
			counts, err := p.Count(func() error {
				test.exchange(
					func(parts ...string) {
						for _, part := range parts {
							sentBytes += int64(len(part))
						}
						transfer(t, client, server, parts...)
					},
					func(parts ...string) {
						for _, part := range parts {
							receivedBytes += int64(len(part))
						}
						transfer(t, server, client, parts...)
					})
				return nil
			})
			require.NoError(t, err)
			test.expected.BytesSent, test.expected.BytesReceived = sentBytes, receivedBytes
			require.Equal(t, test.expected, counts)
		})
	}
}

func TestNothingIsCountedOutsideOfCount(t *testing.T) {
	p, client, server := newExchange(t)
	one := func() error {
		transfer(t, client, server, packet(0, string(rune(comQuery))+"select 1"))
		transfer(t, server, client, packet(1, "\x00"))
		return nil
	}
	require.NoError(t, one())
	counts, err := p.Count(one)
	require.NoError(t, err)
	require.EqualValues(t, 1, counts.RoundTrips)
	require.NoError(t, one())
	require.Equal(t, counts, p.counter.stop())
}

func TestADelayIsNeverShorter(t *testing.T) {
	const oneWay = 5 * time.Millisecond
	p, client, server := newExchange(t)
	p.SetDelay(2 * oneWay)
	for range 10 {
		begin := time.Now()
		transfer(t, client, server, "there")
		require.GreaterOrEqual(t, time.Since(begin), oneWay)
		transfer(t, server, client, "and back")
		require.GreaterOrEqual(t, time.Since(begin), 2*oneWay)
	}
}

func TestDelaysDoNotAddUp(t *testing.T) {
	p, client, _ := newExchange(t)
	p.SetDelay(time.Minute) // nothing arrives during the test, but the proxy reads on
	_, err := p.Count(func() error {
		for sent := int64(1); sent <= 3; sent++ {
			_, err := io.WriteString(client, "x")
			require.NoError(t, err)
			require.Eventually(t, func() bool {
				p.counter.mutex.Lock()
				defer p.counter.mutex.Unlock()
				return p.counter.counts.BytesSent == sent
			}, 10*time.Second, time.Millisecond)
		}
		return nil
	})
	require.NoError(t, err)
}

func TestNothingOvertakesWhenADelayShrinks(t *testing.T) {
	p, client, server := newExchange(t)
	p.SetDelay(400 * time.Millisecond)
	_, err := p.Count(func() error {
		_, err := io.WriteString(client, "first ")
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			p.counter.mutex.Lock()
			defer p.counter.mutex.Unlock()
			return p.counter.counts.BytesSent > 0
		}, 10*time.Second, time.Millisecond)
		return nil
	})
	require.NoError(t, err)
	p.SetDelay(0)
	_, err = io.WriteString(client, "second")
	require.NoError(t, err)
	received := make([]byte, len("first second"))
	_, err = io.ReadFull(server, received)
	require.NoError(t, err)
	require.Equal(t, "first second", string(received))
	transfer(t, server, client, "the other direction has nothing to wait for")
}

func TestTheEndOfAConnectionArrivesAtTheOtherSide(t *testing.T) {
	for _, delay := range []time.Duration{0, time.Millisecond} {
		p, client, server := newExchange(t)
		p.SetDelay(delay)
		_, err := io.WriteString(server, "last words")
		require.NoError(t, err)
		require.NoError(t, server.Close())
		all, err := io.ReadAll(client)
		require.NoError(t, err)
		require.Equal(t, "last words", string(all))
	}
}
