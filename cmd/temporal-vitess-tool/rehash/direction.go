package rehash

import "github.com/temporal-vitess/temporal-vitess/internal/taskqueue"

// rangeHash returns where tasks move to.
func (r *Rehash) rangeHash(taskQueueID []byte) uint32 {
	if r.cfg.Back {
		return taskqueue.UpstreamRangeHash(taskQueueID)
	}
	return taskqueue.RangeHash(taskQueueID)
}

// Reader is who reads tasks where they move to.
func (r *Rehash) Reader() string {
	if r.cfg.Back {
		return "upstream's plugin"
	}
	return "the plugin"
}

// ReadsBoth is the option of servers under which tasks may move.
func (r *Rehash) ReadsBoth() string {
	if r.cfg.Back {
		return "vitess_subqueue_tasks: upstream-read-both"
	}
	return "vitess_subqueue_tasks: vitess-read-both"
}

// meanwhile is what an operator must not do before all tasks have moved.
func (r *Rehash) meanwhile() string {
	if r.cfg.ServersReadBoth {
		return "keep servers at " + r.ReadsBoth() + " until it is done"
	}
	return "start no matching service before it is done"
}
