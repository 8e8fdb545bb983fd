// Package migration tests temporal-vitess-tool migrate: clusters that run on other set-ups of tables move to the keyspaces, on a
// Vitess of many processes, while workflows of many kinds run.
package migration
