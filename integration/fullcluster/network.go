package fullcluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// behindNetwork is another address of this machine, where a server with a Network or a proxy listens. The same port of
// 127.0.0.1, which all others know, is theirs.
const behindNetwork = "127.0.1.1"

// Network is the way to a server for all others, and not for the tests, which ask servers themselves.
type Network struct{ proxy *toxiproxy.Proxy }

// host is where servers with a Network listen.
func (c *Cluster) host() string {
	if c.config.Networks {
		return behindNetwork
	}
	return "127.0.0.1"
}

// behind is the host:port of a server, without its Network.
func (c *Cluster) behind(port int) string { return net.JoinHostPort(c.host(), strconv.Itoa(port)) }

// newNetwork does not listen yet; nil if the configuration has none.
func (c *Cluster) newNetwork(name string, port int) *Network {
	if !c.config.Networks {
		return nil
	}
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	return &Network{toxiproxy.NewProxy(server, name, address(port), c.behind(port))}
}

// start listens.
func (n *Network) start() error {
	if n == nil {
		return nil
	}
	if err := n.proxy.Start(); err != nil && !errors.Is(err, toxiproxy.ErrProxyAlreadyStarted) {
		return fmt.Errorf("the network to %s: %w", n.proxy.Name, err)
	}
	return nil
}

func (n *Network) stop() {
	if n != nil {
		n.proxy.Stop()
	}
}

// Cut lets nothing pass any more, in neither direction, and nobody know.
func (n *Network) Cut() error { return n.add("timeout", `"timeout": 0`) }

// Slow delays what passes in each direction.
func (n *Network) Slow(delay time.Duration) error {
	return n.add("latency", fmt.Sprintf(`"latency": %d`, delay.Milliseconds()))
}

// Refuse closes all connections and lets nobody make one.
func (n *Network) Refuse() error {
	n.proxy.Stop()
	return nil
}

// Heal ends Cut, Slow and Refuse. Connections that were cut are closed.
func (n *Network) Heal() error {
	n.proxy.Toxics.ResetToxics(context.Background())
	return n.start()
}

func (n *Network) add(kind, attributes string) error {
	for _, stream := range []string{"upstream", "downstream"} {
		toxic := fmt.Sprintf(`{"type": %q, "stream": %q, "attributes": {%s}}`, kind, stream, attributes)
		if _, err := n.proxy.Toxics.AddToxicJson(strings.NewReader(toxic)); err != nil {
			return fmt.Errorf("the network to %s: %w", n.proxy.Name, err)
		}
	}
	return nil
}
