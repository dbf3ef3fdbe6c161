package main

import (
	"context"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/line"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// Where contenders push to.
const (
	repository = "bench/model"
	tag        = "v1"
)

// A job is what a contender must do: bring a model from the Hub to the registry.
type job struct {
	model model
	place line.Place
	ca    string // File with the Hub's authority.
	dir   string // An empty folder to work in.

	// verified is the digest of the list of files that the run before has pushed, as an
	// Artifact's status has it; empty for a first run.
	verified string

	// memory is one for what a contender would otherwise keep in its own.
	memory string
}

// proxy returns the environment by which programs reach the Hub. The registry
// is on loopback, for which none asks a proxy.
func (j job) proxy() []string {
	url := "http://" + j.place.Hub
	return []string{
		"HTTPS_PROXY=" + url, "https_proxy=" + url, "HTTP_PROXY=", "http_proxy=",
		"NO_PROXY=127.0.0.1", "no_proxy=127.0.0.1", "ALL_PROXY=", "all_proxy=",
	}
}

// A contender takes a model to the registry in its way.
type contender interface {
	// name in the table.
	name() string

	// run does the job once, and counts what its processes take.
	run(ctx context.Context, j job, m *meter.Meter) error
}
