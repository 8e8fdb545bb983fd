// Package faults breaks parts of a distributed Vitess while Temporal works on it, and checks that nothing is lost.
//
// A [Bed] is that Vitess, with a Temporal server on it. [Bed.Run] starts a load there, lets one of [Faults] happen to it,
// and checks what came of everything that Temporal has acknowledged. Command reliability does so for all faults and writes
// docs/reliability.md; the tests do it for some.
package faults
