package persistence

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
)

const (
	startTimeout = 5 * time.Minute

	// What a test waits for takes milliseconds.
	waitTimeout = 30 * time.Second
	waitTick    = 10 * time.Millisecond
)

// testbeds are started when a test asks for one, and shared by the tests of the package.
var testbeds = struct {
	sync.Mutex
	starts map[int]func() (*testbed.Testbed, error) // by the number of Vitess shards
}{starts: map[int]func() (*testbed.Testbed, error){}}

// bed returns the testbed with that number of Vitess shards.
func bed(t *testing.T, vitessShards int) *testbed.Testbed {
	t.Helper()
	testbeds.Lock()
	start, ok := testbeds.starts[vitessShards]
	if !ok {
		start = sync.OnceValues(func() (*testbed.Testbed, error) {
			ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
			defer cancel()
			return testbed.Start(ctx, vitessShards, nil)
		})
		testbeds.starts[vitessShards] = start
	}
	testbeds.Unlock()
	running, err := start()
	if err != nil {
		t.Fatal(err)
	}
	return running
}

// TestMain fails the package, whatever its tests say, if a vtgate has seen what the plugin promises never to send.
func TestMain(m *testing.M) {
	code := m.Run()
	for vitessShards, start := range testbeds.starts {
		running, err := start()
		if err != nil {
			continue // the test that asked for it has failed
		}
		if err := errors.Join(running.CheckRoutes(context.Background()), running.Stop()); err != nil {
			fmt.Fprintf(os.Stderr, "FAIL: after the tests on %d Vitess shards: %v\n", vitessShards, err)
			code = 1
		}
	}
	os.Exit(code)
}
