//go:build !linux

package cluster

import (
	"errors"
	"os"
	"syscall"
)

func dropRoot(*syscall.SysProcAttr, string) error {
	if os.Geteuid() == 0 {
		return errors.New("Vitess does not run as root: start the local Vitess as an ordinary user")
	}
	return nil
}
