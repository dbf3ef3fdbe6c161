package main

import (
	"context"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/attest"
	"github.com/crossplane-contrib/provider-kitops/internal/filelist"
	client "github.com/crossplane-contrib/provider-kitops/internal/registry"
	"github.com/crossplane-contrib/provider-kitops/test/bench/internal/meter"
)

// maxDescribed is how much of a run's time the list of the files and their signature may
// take.
const maxDescribed = 0.03

// holdDescribed holds what it takes to list and to sign a model's files against the time
// of a run. The files themselves are hashed in any case, to verify them.
func (b *bench) holdDescribed(ctx context.Context, r round, what string) error {
	var took []time.Duration
	for range b.options.runs {
		one, err := b.describe(ctx, r.model)
		if err != nil {
			return err
		}
		took = append(took, one)
	}
	run := r.of(b.stream().name()).median()
	share := meter.Median(took).Seconds() / run.Seconds()
	b.report.hold(share < maxDescribed, what+": list and signature of the files under 3 % of a run", "%.2f %%, %.1f ms of %.2f s", 100*share, 1000*meter.Median(took).Seconds(), run.Seconds())
	return nil
}

// describe lists a model's files as a run does, pushes the list beside what is in the
// registry, and signs them as a commit does. It returns how long that took.
func (b *bench) describe(ctx context.Context, m model) (time.Duration, error) {
	c, err := client.New(client.Options{Host: b.ends.place.Registry, PlainHTTP: true})
	if err != nil {
		return 0, err
	}
	defer c.Close()
	subject, err := c.Resolve(ctx, repository, tag)
	if err != nil {
		return 0, err
	}
	private, err := attest.GenerateKey()
	if err != nil {
		return 0, err
	}
	key, err := attest.ParsePrivateKey(private, nil)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	l := filelist.List{Model: filelist.Model{Task: start.String()}} // Of other content each time.
	for _, f := range m.Files {
		l.Files = append(l.Files, filelist.File{Path: f.Path, Size: f.Size, SHA256: f.SHA256})
	}
	encoded, err := l.Encode()
	if err != nil {
		return 0, err
	}
	if _, err := c.PushReferrer(ctx, repository, subject, client.Referrer{Type: filelist.MediaType, Content: encoded}); err != nil {
		return 0, errors.Wrap(err, "cannot push the list of files")
	}
	if l, err = filelist.Decode(encoded); err != nil {
		return 0, err
	}
	signature, err := attest.SignModel(ctx, key, l, m.Name)
	if err != nil {
		return 0, err
	}
	_, err = c.PushReferrer(ctx, repository, subject, client.Referrer{Type: attest.ModelSignatureType, Content: signature})
	return time.Since(start), errors.Wrap(err, "cannot push the signature of the files")
}
