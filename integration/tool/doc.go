// Package tool tests the schema commands of temporal-vitess-tool on a local Vitess, from empty keyspaces and from ones at
// older versions: whatever the way, the tables are the same in the end.
package tool
