// Package toolvschema tests the commands of temporal-vitess-tool that are about the VSchema, on a real vtgate and vtctld.
package toolvschema
