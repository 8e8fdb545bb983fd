//go:build !linux

package plugin

// threadID is not known.
func threadID() (id int, known bool) { return 0, false }
