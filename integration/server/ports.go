package server

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports outside of what systems give to outgoing connections, so that they stay free, and of what fits
// cluster_membership.rpc_port, a SMALLINT of 32767 at most in upstream's schema for MySQL.
const (
	firstPort = 20000
	lastPort  = 32767
)

// freePorts returns different ports on which nobody listens.
func freePorts(count int) ([]int, error) {
	var ports []int
	for _, offset := range rand.Perm(lastPort - firstPort + 1) {
		port := firstPort + offset
		listener, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(port)))
		if err != nil {
			continue // in use
		}
		if err := listener.Close(); err != nil {
			return nil, err
		}
		if ports = append(ports, port); len(ports) == count {
			return ports, nil
		}
	}
	return nil, fmt.Errorf("fewer than %d ports of %s from %d to %d are free", count, host, firstPort, lastPort)
}
