// Package onedatabase tests set-ups with fewer databases than Temporal's tables have roles: all in one, or the visibility
// store in another; on unsharded keyspaces of Vitess and on MySQL without it.
package onedatabase
