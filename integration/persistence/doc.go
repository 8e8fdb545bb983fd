// Package persistence holds the tests of the plugin's stores on a real Vitess: upstream's own persistence suites on 1, 2
// and 4 Vitess shards and on a plain MySQL without Vitess, and what those suites do not cover.
package persistence
