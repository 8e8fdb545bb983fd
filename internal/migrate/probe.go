package migrate

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// probe asks vtgate to delete rows that cannot be, as a server would write: it waits as a write does.
type probe struct {
	end     context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	longest time.Duration
}

const (
	probePause = 30 * time.Millisecond
	// probeAgain is the pause after an error, as a server's retries have.
	probeAgain = 100 * time.Millisecond
)

// probeStatements delete nothing. Those of history shards that are not there lead to different Vitess shards.
func probeStatements(move Move) []string {
	var statements []string
	for _, role := range move.Roles {
		switch {
		case role == vschema.Main && move.has("shards"):
			for historyShard := -4; historyShard < 0; historyShard++ {
				statements = append(statements, fmt.Sprintf("DELETE FROM `%s`.shards WHERE shard_id = %d", move.Target, historyShard))
			}
		case role == vschema.Global && move.has("namespace_metadata"):
			statements = append(statements, fmt.Sprintf("DELETE FROM `%s`.namespace_metadata WHERE partition_id = -1", move.Target))
		case role == vschema.Visibility && move.has("executions_visibility"):
			statements = append(statements, fmt.Sprintf("DELETE FROM `%s`.executions_visibility WHERE namespace_id = '' AND run_id = ''", move.Target))
		}
	}
	return statements
}

func (m *Migration) startProbe(ctx context.Context, move Move) *probe {
	p := &probe{}
	ctx, p.end = context.WithCancel(ctx)
	for _, statement := range probeStatements(move) {
		p.running.Go(func() {
			began := time.Now()
			for {
				_, err := m.Vitess.DB.ExecContext(ctx, statement)
				pause := probePause
				if err != nil {
					pause = probeAgain
				}
				if err == nil || ctx.Err() != nil {
					p.took(time.Since(began))
					began = time.Time{}
				}
				select {
				case <-time.After(pause):
				case <-ctx.Done():
					return
				}
				if began.IsZero() {
					began = time.Now()
				}
			}
		})
	}
	return p
}

func (p *probe) took(length time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.longest = max(p.longest, length)
}

// stop returns the longest wait.
func (p *probe) stop() time.Duration {
	p.end()
	p.running.Wait()
	return p.longest
}
