// Package doctor tests the checks of temporal-vitess-tool doctor: each on a set-up that has the fault, and on one that has
// not. Faults are real wherever a local Vitess can have them.
package doctor
