package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

const (
	// sideBySide is how many files are moved at a time: as many as Stream does.
	sideBySide = 4

	// piped files go from one curl to another; smaller ones in lanes.
	piped = 1 << 20
)

// A curl is the limit: no manifest, no hash, nothing that is asked before a file
// is moved, and each file's digest known beforehand.
//
// A large file is what `curl | curl` moves. For small ones, to start three
// programs a file is all that would be measured, so that each of four lanes has
// its files by three curls, which keep their connections: one begins all
// uploads while one fetches all files into memory, then one sends them. More
// lanes are not faster on two cores.
type curl struct {
	bucket *bucket // Where files are from; nil for the Hub.
}

// name implements contender.
func (c curl) name() string {
	if c.bucket != nil {
		return "limit by curl, signed"
	}
	return "limit by curl"
}

// get returns the command that writes a file to its output.
func (c curl) get(j job, f file) []string {
	if c.bucket != nil {
		return []string{"curl", "-sSf", "-K", c.bucket.config, c.bucket.url(j.model, f)}
	}
	return []string{"curl", "-sSfL", "--cacert", j.ca, source(j, f)}
}

// run implements contender.
func (c curl) run(ctx context.Context, j job, m *meter.Meter) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(sideBySide)
	if j.model.Files[0].Size >= piped {
		for _, f := range j.model.Files {
			g.Go(func() error { return errors.Wrap(c.pipe(ctx, j, m, f), f.Path) })
		}
		return g.Wait()
	}
	for i := range sideBySide {
		l := &lane{job: j, meter: m, number: i}
		for k := i; k < len(j.model.Files); k += sideBySide {
			l.files = append(l.files, j.model.Files[k])
		}
		g.Go(func() error { return errors.Wrapf(l.run(ctx), "lane %d", i) })
	}
	return g.Wait()
}

// source returns where a file is on the Hub.
func source(j job, f file) string {
	return hubURL + "/" + j.model.name() + "/resolve/main/" + f.Path
}

// uploads returns where the registry's uploads begin
// (https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pushing-blobs).
func uploads(j job) string {
	return "http://" + j.place.Registry + "/v2/" + repository + "/blobs/uploads/"
}

// target returns where a file is sent by the location that the registry gave.
func target(location string, f file) string {
	return strings.TrimSpace(location) + "&digest=" + url.QueryEscape("sha256:"+f.SHA256)
}

// pipe moves one file.
func (c curl) pipe(ctx context.Context, j job, m *meter.Meter, f file) error {
	location, err := m.Run(ctx, meter.Command{Dir: j.dir, Env: j.proxy(), Args: []string{
		"curl", "-sSf", "-X", "POST", "-H", "Content-Length: 0", "-w", "%header{location}", uploads(j),
	}})
	if err != nil {
		return err
	}
	from, to, err := os.Pipe()
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		defer to.Close()
		_, err := m.Run(ctx, meter.Command{Dir: j.dir, Env: j.proxy(), Out: to, Args: c.get(j, f)})
		return err
	})
	g.Go(func() error {
		defer from.Close()
		_, err := m.Run(ctx, meter.Command{Dir: j.dir, Env: j.proxy(), In: from, Args: []string{
			"curl", "-sSf", "-T", "-", "-H", "Expect:", "-H", "Content-Type: application/octet-stream",
			// With a length it is some percent faster than in chunks.
			"-H", "Transfer-Encoding:", "-H", fmt.Sprintf("Content-Length: %d", f.Size), target(location, f),
		}})
		return err
	})
	return g.Wait()
}
