// Package pipelining has the tests of pipelined transactions on a real vtgate: that they do what upstream's plugin does
// on a plain MySQL, in fewer round trips, and leave nothing behind when something fails.
package pipelining
