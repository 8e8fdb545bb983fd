// Package toolconnect tests what temporal-vitess-tool says when it cannot connect, and the ways in which it can.
package toolconnect
