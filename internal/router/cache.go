package router

import (
	"sync"
	"unsafe"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// The bounds of a router's memory for plans. Upstream's plugin has some 250 texts, times the batch sizes of its inserts;
// visibility queries have no end of them. With the Plans themselves, and what is left free behind texts, a full cache has
// some 45 MiB of the heap.
const (
	maxCachedPlans = 8192
	// maxCachedBytes is for the texts: the statement's, and those to send instead with their Args.
	maxCachedBytes = 32 << 20
	// maxCachedLength of a statement's text: a longer one is planned each time. It is a batch that hardly comes again,
	// and would take the place of many others.
	maxCachedLength = 16 << 10
)

// planCache has the plans that were asked for last. It is safe for concurrent use.
type planCache struct {
	mutex sync.Mutex
	plans *simplelru.LRU[string, *Plan]
	// bytes of all texts, at most maxCachedBytes.
	bytes int
}

func newPlanCache() (*planCache, error) {
	c := &planCache{}
	var err error
	c.plans, err = simplelru.NewLRU(maxCachedPlans, func(query string, plan *Plan) { c.bytes -= cachedBytes(query, plan) })
	return c, err
}

func (c *planCache) get(query string) (*Plan, bool) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	return c.plans.Get(query)
}

func (c *planCache) add(query string, plan *Plan) {
	if len(query) > maxCachedLength {
		return
	}
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.plans.Contains(query) { // another call was faster
		return
	}
	c.plans.Add(query, plan)
	c.bytes += cachedBytes(query, plan)
	for c.bytes > maxCachedBytes {
		c.plans.RemoveOldest()
	}
}

// cachedBytes is what a plan counts for in maxCachedBytes.
func cachedBytes(query string, plan *Plan) int {
	bytes := len(query) + plan.Statement.bytes()
	if plan.Page != nil {
		bytes += plan.Page.Next.bytes()
	}
	if plan.Check != nil {
		bytes += plan.Check.Statement.bytes()
	}
	if plan.Unknown != nil { // quotes the statement
		bytes += len(plan.Unknown.Error())
	}
	return bytes
}

func (s *Statement) bytes() int {
	bytes := len(s.SQL)
	for _, arg := range s.Args {
		bytes += int(unsafe.Sizeof(arg)) + len(arg.Text)
	}
	return bytes
}
