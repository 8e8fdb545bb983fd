package fullcluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
)

// Config says what Start brings up.
type Config struct {
	Keyspaces []Keyspace
	// VTGates is the number of vtgates; 0 means 1.
	VTGates int
	// VTOrc brings up a vtorc, which elects a new primary where one fails. Without it nobody does.
	VTOrc bool
	// Networks puts a Network before each vtgate's MySQL protocol, each vttablet's gRPC, and each mysqld, where its replicas
	// come; a vttablet reaches its own mysqld by a socket. They need the address 127.0.1.1, which Linux has.
	Networks bool
	// VTTabletProxy puts a proxy of the caller's before each vttablet, instead of a Network, with the same need. It is called
	// before the vttablet starts, from several goroutines: the proxy has to listen on addr then, and to lead to server. It is
	// the caller's to close after Stop. May be nil.
	VTTabletProxy func(addr, server string) error
	// TransactionIsolation is mysqld's transaction_isolation. Empty means READ-COMMITTED, as operators of Temporal set it;
	// what MySQL has without any setting is REPEATABLE-READ.
	TransactionIsolation string
	// MySQLSettings are lines for the configuration of each mysqld, as in "innodb_lock_wait_timeout = 2".
	MySQLSettings []string
	// The flags are added to those of each vtgate, vttablet and vtorc; of a flag that is given twice, the last counts.
	VTGateFlags, VTTabletFlags, VTOrcFlags []string
	// Log receives a line for each step of the start, with the seconds since its begin. May be nil.
	Log io.Writer
	// LogFolder is an existing folder that receives what the processes log, and outlives the cluster. Empty means a folder
	// that goes with it.
	LogFolder string
}

// Keyspace is one keyspace, with its schema. DDL is executed on the primary of each Vitess shard.
type Keyspace struct {
	cluster.Keyspace
	// Replicas is the number of tablets of each Vitess shard beside its primary. With 2 and more of them a commit waits for
	// one of them (semi_sync).
	Replicas int
}

func (c Config) withDefaults() (Config, error) {
	if c.VTGates == 0 {
		c.VTGates = 1
	}
	if c.TransactionIsolation == "" {
		c.TransactionIsolation = "READ-COMMITTED"
	}
	if c.Networks && c.VTTabletProxy != nil {
		return Config{}, errors.New("Networks and VTTabletProxy are given: there is room for one of them before a vttablet")
	}
	if c.VTGates < 0 {
		return Config{}, fmt.Errorf("%d vtgates", c.VTGates)
	}
	if len(c.Keyspaces) == 0 {
		return Config{}, errors.New("no keyspace given")
	}
	for _, keyspace := range c.Keyspaces {
		if keyspace.Name == "" {
			return Config{}, errors.New("a keyspace without a name")
		}
		if keyspace.Shards < 1 || keyspace.Shards > 256 {
			return Config{}, fmt.Errorf("keyspace %s: %d Vitess shards; must be 1 to 256", keyspace.Name, keyspace.Shards)
		}
		if keyspace.Replicas < 0 {
			return Config{}, fmt.Errorf("keyspace %s: %d replicas", keyspace.Name, keyspace.Replicas)
		}
		if len(keyspace.VSchema) > 0 && !json.Valid(keyspace.VSchema) {
			return Config{}, fmt.Errorf("keyspace %s: its VSchema is not JSON", keyspace.Name)
		}
	}
	return c, nil
}
