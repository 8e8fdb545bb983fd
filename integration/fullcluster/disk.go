package fullcluster

import (
	"context"
	_ "embed"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
)

//go:embed disk.sh
var diskScript []byte

// The ways to a mount namespace, for a process that may mount, and for one that may where it has a user namespace. No way to
// become root, which mount would take: it refuses those who may and are not.
var mountNamespaces = [][]string{
	{"unshare", "--mount", "setpriv", "--no-new-privs"},
	{"unshare", "--user", "--map-current-user", "--keep-caps", "--mount", "setpriv", "--no-new-privs"},
}

// Disk is where one mysqld has its data, with little space left.
type Disk struct {
	cluster *Cluster
	mysqld  *Process
	// folder is in the disk's file system, as its mysqld sees it; empty where none could be mounted.
	folder string
}

// SmallDisk starts a replica's mysqld again on a disk of its own, with a copy of its data: see Rebuild for the way back. The
// disk is a file system in memory that only this mysqld sees, and of which nothing is left when it ends in whatever way.
// Where the machine forbids to mount one, a limit to the size of files stands for it.
func (c *Cluster) SmallDisk(ctx context.Context, t *Tablet) (*Disk, error) {
	script := filepath.Join(c.folder, "disk.sh")
	if err := os.WriteFile(script, diskScript, 0o644); err != nil {
		return nil, err
	}
	d := &Disk{cluster: c, mysqld: t.mysqld}
	commandLine := t.mysqld.commandLine
	for _, namespace := range mountNamespaces {
		if _, err := c.command(ctx, slices.Concat(namespace, []string{"mount", "-t", "tmpfs", "tmpfs", c.folder})...); err == nil {
			commandLine = slices.Concat(namespace, []string{"sh", script, c.tabletFolder(t.uid)}, commandLine)
			d.folder = filepath.Join(c.tabletFolder(t.uid), "disk")
			break
		}
	}
	if err := errors.Join(t.mysqld.Terminate(), t.mysqld.Wait(ctx)); err != nil {
		return nil, err
	}
	return d, t.mysqld.start(ctx, commandLine)
}

// Fill leaves no space.
func (d *Disk) Fill(ctx context.Context) error {
	pid := strconv.Itoa(d.mysqld.PID())
	if d.folder == "" {
		_, err := d.cluster.command(ctx, "prlimit", "--pid="+pid, "--fsize=0:")
		return err
	}
	file, err := os.Create(filepath.Join("/proc", pid, "root", d.folder, "ballast"))
	if err != nil {
		return err
	}
	defer file.Close()
	for block := make([]byte, 1<<20); len(block) > 0; block = block[:len(block)/2] {
		for err = nil; err == nil; {
			_, err = file.Write(block)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	return nil
}
