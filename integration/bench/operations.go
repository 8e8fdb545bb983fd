package main

import (
	"context"
	"fmt"
)

// operation is something that Temporal does to its stores.
type operation struct {
	Name string
	// Busy operations are also measured with many callers at once. Their preparation does not touch the database.
	Busy bool
	// setUp makes what all calls of one caller share, and returns what prepares the calls one by one.
	setUp func(context.Context, *caller) (prepare, error)
}

type (
	// prepare makes what one call needs, in the caller's direct stores.
	prepare func(context.Context) (call, error)
	// call is what is measured, in the caller's measured stores.
	call func(context.Context) error
)

func operations() []operation {
	var all []operation
	all = append(all, executionOperations...)
	all = append(all, historyOperations...)
	all = append(all, matchingOperations...)
	all = append(all, visibilityOperations...)
	return all
}

// one prepares and runs a call outside of any measurement.
func one(ctx context.Context, prepare prepare) error {
	call, err := prepare(ctx)
	if err != nil {
		return fmt.Errorf("prepare: %w", err)
	}
	return call(ctx)
}
