package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// A lane has its share of the small files.
type lane struct {
	job    job
	meter  *meter.Meter
	files  []file
	number int
}

// run moves the lane's files.
func (l *lane) run(ctx context.Context) error {
	var locations string
	g, both := errgroup.WithContext(ctx)
	g.Go(func() error {
		_, err := l.curl(both, "get", l.gets())
		return err
	})
	g.Go(func() (err error) {
		locations, err = l.curl(both, "post", l.posts())
		return err
	})
	if err := g.Wait(); err != nil {
		return err
	}
	at := strings.Fields(locations)
	if len(at) != len(l.files) {
		return errors.Errorf("the registry gave %d locations for %d files", len(at), len(l.files))
	}
	_, err := l.curl(ctx, "put", l.puts(at))
	return err
}

// curl runs one curl with a configuration for many files.
func (l *lane) curl(ctx context.Context, what, config string) (string, error) {
	path := filepath.Join(l.job.memory, fmt.Sprintf("%s-%d", what, l.number))
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return "", errors.Wrap(err, "cannot configure curl")
	}
	return l.meter.Run(ctx, meter.Command{Dir: l.job.memory, Env: l.job.proxy(), Args: []string{"curl", "-sSf", "-K", path}})
}

// gets fetches all files.
func (l *lane) gets() string {
	var b strings.Builder
	fmt.Fprintf(&b, "location\ncacert = %q\n", l.job.ca)
	for _, f := range l.files {
		fmt.Fprintf(&b, "url = %q\noutput = %q\n", source(l.job, f), f.Path)
	}
	return b.String()
}

// posts begins all uploads.
func (l *lane) posts() string {
	var b strings.Builder
	fmt.Fprintf(&b, "request = POST\nheader = \"Content-Length: 0\"\nwrite-out = \"%%header{location}\\n\"\n")
	for range l.files {
		fmt.Fprintf(&b, "url = %q\n", uploads(l.job))
	}
	return b.String()
}

// puts sends all files.
func (l *lane) puts(locations []string) string {
	var b strings.Builder
	for i, f := range l.files {
		if i > 0 {
			fmt.Fprintln(&b, "next")
		}
		fmt.Fprintf(&b, "silent\nfail\nupload-file = %q\nurl = %q\noutput = /dev/null\nheader = \"Expect:\"\nheader = \"Content-Type: application/octet-stream\"\n",
			f.Path, target(locations[i], f))
	}
	return b.String()
}
