package fullcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Ports outside of what systems give to outgoing connections, so that one stays free while its process is down.
const (
	firstPort = 10000
	lastPort  = 32767
)

// freePorts returns different ports on which nobody listens.
func freePorts(count int) ([]int, error) {
	var ports []int
	for _, offset := range rand.Perm(lastPort - firstPort + 1) {
		if len(ports) == count {
			return ports, nil
		}
		port := firstPort + offset
		listener, err := net.Listen("tcp", address(port))
		if err != nil {
			continue // in use
		}
		if err := listener.Close(); err != nil {
			return nil, err
		}
		ports = append(ports, port)
	}
	return nil, fmt.Errorf("fewer than %d ports from %d to %d are free", count, firstPort, lastPort)
}

func address(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}
