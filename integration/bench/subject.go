package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.temporal.io/server/common/config"

	"github.com/temporal-vitess/temporal-vitess/integration/bench/wire"
)

// servers hold the data of configurations.
type servers interface {
	// configs returns how to reach the main and the visibility store of a configuration, with so many connections for each.
	configs(c configuration, connections int) (main, visibility config.SQL)
}

// subject is a configuration that is measured.
type subject struct {
	configuration
	// direct has nothing between it and the database, distant goes over the network.
	direct, distant *stores
	network         *wire.Proxy
	// callers have one history shard each. The first is for what is measured with one caller at a time.
	callers []*caller
}

// openSubject opens the stores of a configuration, with callers on history shards from the given one on, and that
// many connections for each store.
func openSubject(ctx context.Context, d servers, c configuration, firstHistoryShard int32, callers, connections int) (_ *subject, err error) {
	s := &subject{configuration: c}
	defer func() {
		if err != nil {
			err = errors.Join(fmt.Errorf("configuration %s: %w", c.Name, err), s.close())
		}
	}()
	main, visibility := d.configs(c, connections)
	if s.direct, err = openStores(main, visibility); err != nil {
		return nil, err
	}
	// Both stores of a configuration are on the same server.
	if s.network, err = wire.Listen(main.ConnectAddr); err != nil {
		return nil, err
	}
	main.ConnectAddr, visibility.ConnectAddr = s.network.Addr(), s.network.Addr()
	if s.distant, err = openStores(main, visibility); err != nil {
		return nil, err
	}
	for i := range callers {
		caller, err := newCaller(ctx, s.direct, firstHistoryShard+int32(i))
		if err != nil {
			return nil, err
		}
		s.callers = append(s.callers, caller)
	}
	return s, nil
}

// mayRefuse reports whether operations may fail: with upstream's plugin on sharded keyspaces.
func (s *subject) mayRefuse() bool { return s.Stock && s.VitessShards > 0 }

func (s *subject) close() error {
	for _, stores := range []*stores{s.direct, s.distant} {
		if stores != nil {
			stores.close()
		}
	}
	if s.network == nil {
		return nil
	}
	return s.network.Close()
}

// setDelay sets the round trip time between the callers and the database. No call may be under way.
func (s *subject) setDelay(delay time.Duration) {
	stores := s.direct
	if delay > 0 {
		stores = s.distant
		s.network.SetDelay(delay)
	}
	for _, caller := range s.callers {
		caller.measured = stores
	}
}

// count returns what one call puts on the wire. Around runs it.
func (s *subject) count(ctx context.Context, prepare prepare, around func(call func() error) error) (wire.Counts, error) {
	s.network.SetDelay(0)
	for _, caller := range s.callers {
		caller.measured = s.distant
	}
	for range 2 { // opens connections, and lets the plugin ask once what the server can do
		if err := one(ctx, prepare); err != nil {
			return wire.Counts{}, err
		}
	}
	call, err := prepare(ctx)
	if err != nil {
		return wire.Counts{}, err
	}
	return s.network.Count(func() error { return around(func() error { return call(ctx) }) })
}
