// Package workflows tests the real Temporal server with real workers on a sharded Vitess: workflows of every kind, and
// the operations around them, each to its end and then through visibility. The kinds are in package kinds beneath.
package workflows
