//go:build !linux

package supervise

import (
	"errors"
	"os"
	"syscall"
)

func dropRoot(*syscall.SysProcAttr, string, bool) error {
	if os.Geteuid() == 0 {
		return errors.New("Vitess does not run as root: start it as an ordinary user")
	}
	return nil
}
