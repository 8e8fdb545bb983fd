// Package config holds the sample configuration of a Temporal server on Vitess.
package config

import _ "embed"

// Vitess is vitess.yaml: a configuration template, in the form Temporal's config loader reads, whose settings come
// from environment variables. Its head lists them.
//
//go:embed vitess.yaml
var Vitess []byte
