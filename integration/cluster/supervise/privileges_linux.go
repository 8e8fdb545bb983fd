package supervise

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// dropRoot makes a process that root starts run as the user nobody, who then owns folder: Vitess' programs and mysqld
// refuse to run as root. The process keeps the right to pass any folder, since the checkout with the programs may lie
// below one that is closed to others, such as /root; and, if mayMount is set, the right to mount, as far as root has it,
// which in a container it may not. For an ordinary user it does nothing.
func dropRoot(attributes *syscall.SysProcAttr, folder string, mayMount bool) error {
	if os.Geteuid() != 0 {
		return nil
	}
	nobody, err := user.Lookup("nobody")
	if err != nil {
		return fmt.Errorf("Vitess does not run as root, and there is no user nobody to run it as: %w", err)
	}
	uid, err := strconv.ParseUint(nobody.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(nobody.Gid, 10, 32)
	if err != nil {
		return err
	}
	attributes.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	attributes.AmbientCaps = []uintptr{unix.CAP_DAC_OVERRIDE}
	if mayMount {
		own, err := permitted()
		if err != nil {
			return err
		}
		if own&(1<<unix.CAP_SYS_ADMIN) != 0 {
			attributes.AmbientCaps = append(attributes.AmbientCaps, unix.CAP_SYS_ADMIN)
		}
	}
	return filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, int(uid), int(gid))
	})
}

// permitted returns the first 32 of this process' capabilities, a bit for each.
func permitted() (uint32, error) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData // this version writes two
	if err := unix.Capget(&header, &data[0]); err != nil {
		return 0, fmt.Errorf("read the capabilities of this process: %w", err)
	}
	return data[0].Permitted, nil
}
