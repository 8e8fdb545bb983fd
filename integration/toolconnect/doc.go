// Package toolconnect tests what temporal-vitess-tool and temporal-server say when they cannot connect, and the ways in which they can.
package toolconnect
