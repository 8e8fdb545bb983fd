// Package containers has the tests that need a container engine: they build the images and run them. `make test-deploy` runs
// them; they have the build tag containers, so that `go test ./...` needs no engine.
//
// ENGINE names the engine's command, as for `make image`.
package containers
