package fullcluster

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// topologyFlags tell a program of Vitess where etcd is.
func (c *Cluster) topologyFlags() []string {
	return []string{
		"--topo-implementation=etcd2",
		"--topo-global-server-address=" + c.etcdAddr,
		"--topo-global-root=/vitess/global",
	}
}

// vitess is the command line of a server of Vitess, all of which serve HTTP.
func (c *Cluster) vitess(program string, httpPort int, flags ...string) []string {
	commandLine := []string{c.tools.program(program)}
	commandLine = append(commandLine, c.topologyFlags()...)
	commandLine = append(commandLine,
		"--bind-address=127.0.0.1",
		fmt.Sprintf("--port=%d", httpPort),
		"--config-file-not-found-handling=ignore",
		"--log-structured=false", "--log-format=text", "--logtostderr",
	)
	return append(commandLine, flags...)
}

const (
	topologyPorts = 4
	vtorcPorts    = 1
)

func (c *Cluster) placeTopology(port func() int) {
	c.etcdAddr = address(port())
	client, peer := "http://"+c.etcdAddr, "http://"+address(port())
	c.etcd = c.newProcess("etcd", answers(client+"/health"),
		c.tools.etcd, "--name=only", "--data-dir="+filepath.Join(c.folder, "etcd"),
		"--listen-client-urls="+client, "--advertise-client-urls="+client,
		"--listen-peer-urls="+peer, "--initial-advertise-peer-urls="+peer, "--initial-cluster=only="+peer,
		"--enable-v2=false",
	)
	httpPort, grpcPort := port(), port()
	c.vtctldAddr = address(grpcPort)
	c.vtctld = c.newProcess("vtctld", answers("http://"+address(httpPort)+"/debug/status"),
		c.vitess("vtctld", httpPort,
			"--cell="+cell,
			"--grpc-bind-address=127.0.0.1", fmt.Sprintf("--grpc-port=%d", grpcPort),
			"--service-map=grpc-vtctl,grpc-vtctld",
			"--backup-storage-implementation=file", "--file-backup-storage-root="+c.backups(),
		)...,
	)
}

func (c *Cluster) placeVTOrc(port func() int) {
	httpPort := port()
	flags := []string{
		"--cell=" + cell,
		"--instance-poll-time=3s", "--recovery-poll-duration=1s", "--topo-information-refresh-duration=5s",
		"--wait-replicas-timeout=10s",
	}
	c.vtorc = c.newProcess("vtorc", answers("http://"+address(httpPort)+"/debug/status"),
		c.vitess("vtorc", httpPort, append(flags, c.config.VTOrcFlags...)...)...)
}

// startTopology brings up etcd and vtctld, and creates the keyspaces.
func (c *Cluster) startTopology(ctx context.Context) error {
	if err := c.etcd.start(ctx, c.etcd.commandLine); err != nil {
		return err
	}
	addCell := append([]string{"--server=internal"}, c.topologyFlags()...)
	addCell = append(addCell, "AddCellInfo", "--root=/vitess/"+cell, "--server-address="+c.etcdAddr, cell)
	if _, err := c.vtctldclient(ctx, addCell...); err != nil {
		return err
	}
	if err := c.vtctld.start(ctx, c.vtctld.commandLine); err != nil {
		return err
	}
	var keyspaces errgroup.Group
	for _, keyspace := range c.config.Keyspaces {
		keyspaces.Go(func() error {
			_, err := c.VTCtl(ctx, "CreateKeyspace", "--durability-policy="+keyspace.durability(), keyspace.Name)
			return err
		})
	}
	if err := keyspaces.Wait(); err != nil {
		return err
	}
	c.progress("etcd, vtctld and the keyspaces")
	return nil
}

// durability lets a commit wait for a replica only where one may be missing.
func (k Keyspace) durability() string {
	if k.Replicas >= 2 {
		return "semi_sync"
	}
	return "none"
}

// answers returns an error unless the URL does with 200.
func answers(url string) func(context.Context) error {
	return func(ctx context.Context) error {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %s", url, response.Status)
		}
		return nil
	}
}
