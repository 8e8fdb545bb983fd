// Package vtgates connects to one of several servers that are as good as each other: the vtgates of a Vitess, by a list of
// addresses or a name with several.
package vtgates

import (
	"context"
	"crypto/tls"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	// leftAlone is how long an address that did not answer is asked after all others.
	leftAlone = 5 * time.Second
	// patience is how long an address may take to answer, if there are others.
	patience = 3 * time.Second
)

// Connector opens connections in turn with the addresses, to the next one that answers. It is safe for concurrent use.
type Connector struct {
	cfg       *mysql.Config
	addresses func() string
	lookup    func(ctx context.Context, host string) ([]string, error)

	mutex sync.Mutex
	turn  int
	// failed has the addresses that did not answer, with the time until which they are left alone.
	failed map[string]time.Time
}

// NewConnector returns a connector for sessions like cfg, whose Addr is not in use. Addresses returns where the servers are,
// each time that one is looked for: host:port, several with commas between; a host's name may stand for several. On other
// networks than TCP it is one address.
func NewConnector(cfg *mysql.Config, addresses func() string) (*Connector, error) {
	c := &Connector{cfg: cfg, addresses: addresses, lookup: net.DefaultResolver.LookupHost, failed: map[string]time.Time{}}
	if _, err := c.split(); err != nil {
		return nil, err
	}
	return c, nil
}

// Driver returns the driver of the connections.
func (c *Connector) Driver() driver.Driver { return mysql.MySQLDriver{} }

func (c *Connector) overTCP() bool { return c.cfg.Net == "" || strings.HasPrefix(c.cfg.Net, "tcp") }

// server is one address.
type server struct {
	address string
	// host is its name for TLS, "" to leave that to the driver.
	host string
}

// split returns the addresses as they are written.
func (c *Connector) split() ([]server, error) {
	addresses := c.addresses()
	if !c.overTCP() {
		return []server{{address: addresses}}, nil
	}
	var servers []server
	for address := range strings.SplitSeq(addresses, ",") {
		address = strings.TrimSpace(address)
		host, port, err := SplitHostPort(address)
		if err != nil {
			return nil, fmt.Errorf("connectAddr: %q has to be host:port, or several with commas between: %w", address, err)
		}
		servers = append(servers, server{net.JoinHostPort(host, port), host})
	}
	return servers, nil
}

// candidates returns all addresses in the order in which to try them.
func (c *Connector) candidates(ctx context.Context) ([]server, error) {
	written, err := c.split()
	if err != nil || !c.overTCP() {
		return written, err
	}
	var servers []server
	for _, s := range written {
		_, port, _ := net.SplitHostPort(s.address)
		var found []string
		if found, err = c.lookup(ctx, s.host); err != nil { // of an IP address, itself
			err = &net.OpError{Op: "dial", Net: "tcp", Err: err}
		}
		for _, ip := range found {
			servers = append(servers, server{net.JoinHostPort(ip, port), s.host})
		}
	}
	if len(servers) == 0 {
		return nil, err
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	c.turn++
	now := time.Now()
	first := c.turn % len(servers)
	servers = slices.Concat(servers[first:], servers[:first])
	slices.SortStableFunc(servers, func(a, b server) int {
		return boolToInt(now.Before(c.failed[a.address])) - boolToInt(now.Before(c.failed[b.address]))
	})
	return servers, nil
}

func boolToInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

// Connect opens a connection. Its error is that of the last address that was tried.
func (c *Connector) Connect(ctx context.Context) (driver.Conn, error) {
	servers, err := c.candidates(ctx)
	if err != nil {
		return nil, err
	}
	for _, s := range servers {
		var opened driver.Conn
		if opened, err = c.connect(ctx, s, len(servers) > 1); err == nil {
			return opened, nil
		}
		if ctx.Err() != nil || !elsewhere(err) {
			return nil, err
		}
	}
	return nil, err
}

func (c *Connector) connect(ctx context.Context, s server, others bool) (driver.Conn, error) {
	cfg := c.cfg.Clone()
	cfg.Addr = s.address
	if cfg.TLS != nil && cfg.TLS.ServerName == "" && s.host != "" {
		cfg.TLS = withServerName(cfg.TLS, s.host)
	}
	base, err := mysql.NewConnector(cfg)
	if err != nil {
		return nil, err
	}
	if others {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, patience)
		defer cancel()
	}
	opened, err := base.Connect(ctx)
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if err == nil {
		delete(c.failed, s.address)
	} else if elsewhere(err) {
		c.failed[s.address] = time.Now().Add(leftAlone)
	}
	return opened, err
}

func withServerName(config *tls.Config, host string) *tls.Config {
	named := config.Clone()
	named.ServerName = host
	return named
}

// elsewhere reports whether another server may answer otherwise: unless this one has, and is neither full nor about to
// end.
func elsewhere(err error) bool {
	var answer *mysql.MySQLError
	return !errors.As(err, &answer) || answer.Number == 1040 || answer.Number == 1053
}
