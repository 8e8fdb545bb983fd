package vtgates

import (
	"net"
	"net/netip"
	"strings"
)

// SplitHostPort is net.SplitHostPort, and takes an IPv6 address without brackets too: what is behind the last colon is the
// port, as where a template puts one behind an address.
func SplitHostPort(address string) (host, port string, err error) {
	if last := strings.LastIndexByte(address, ':'); last > 0 {
		if ip, err := netip.ParseAddr(address[:last]); err == nil && ip.Is6() {
			return address[:last], address[last+1:], nil
		}
	}
	return net.SplitHostPort(address)
}

// Host returns a host as it is without a port: an IPv6 address may be in brackets.
func Host(written string) string {
	if inner, ok := strings.CutPrefix(written, "["); ok {
		if inner, ok = strings.CutSuffix(inner, "]"); ok {
			return inner
		}
	}
	return written
}
