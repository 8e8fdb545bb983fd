// Package deploy has the tests of the files below it: that they fit what reads them (Temporal's server, the tool,
// vitess-operator, Helm, Prometheus, Grafana), and that they say what the code and the documentation say. It is a module of
// its own, so that nobody who imports the plugin gets the modules of Kubernetes, Helm and Prometheus. Theirs are the newest that
// leave the versions of the main module as they are: Temporal and Vitess are compiled once for both.
package deploy
