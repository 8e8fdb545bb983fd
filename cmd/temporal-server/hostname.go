package main

import (
	"fmt"
	"os"
)

// Variables of the config templates, upstream's and ours.
const (
	envBindOnIP         = "BIND_ON_IP"
	envBroadcastAddress = "TEMPORAL_BROADCAST_ADDRESS"
)

// bindOnHostname sets the variables that decide on which address the services listen, and which one they tell each
// other, where the operator did not: to the address that lookup, usually net.LookupHost, finds for this host's name.
// It is docker/scripts/sh/entrypoint.sh of upstream's image for an image without a shell: the templates' own default,
// 127.0.0.1, cannot be reached from outside a container.
func bindOnHostname(lookup func(host string) ([]string, error)) error {
	if os.Getenv(envBindOnIP) == "" {
		if err := setenvHostIP(envBindOnIP, lookup); err != nil {
			return err
		}
	}
	// A wildcard is an address to listen on but none to be reached at.
	bindOnIP := os.Getenv(envBindOnIP)
	if (bindOnIP == "0.0.0.0" || bindOnIP == "::0") && os.Getenv(envBroadcastAddress) == "" {
		return setenvHostIP(envBroadcastAddress, lookup)
	}
	return nil
}

func setenvHostIP(variable string, lookup func(host string) ([]string, error)) error {
	host, err := os.Hostname()
	if err != nil {
		return fmt.Errorf("%w; set %s to this host's IP address", err, variable)
	}
	ips, err := lookup(host)
	if err != nil {
		return fmt.Errorf("%w; set %s to this host's IP address", err, variable)
	}
	return os.Setenv(variable, ips[0])
}
