package main

import (
	"context"
	"fmt"
	"time"
)

const (
	// hubRate is how many requests for files a second the Hub answers. It is below what
	// this machine's Hub and registry do, so that nothing else is the limit.
	hubRate = 1000

	// atHubRate is how much of the time at that rate a run may take.
	atHubRate = 1.05

	// hubWindow is how long a window of the limit is. The real one has 300 s
	// (https://huggingface.co/docs/hub/rate-limits).
	hubWindow = 5 * time.Second
)

// measureMany is about a dataset of very many small files, at the Hub's rate limit.
func (b *bench) measureMany(ctx context.Context) error {
	files := int(b.scaled(100_000))
	m, err := manyFiles(files).prepare(b.content)
	if err != nil {
		return err
	}
	window := max(time.Duration(float64(hubWindow)*b.options.scale).Truncate(time.Second), time.Second)
	b.ends.hubLimit, b.ends.hubWindow = hubRate*int(window/time.Second), window
	defer func() { b.ends.hubLimit = 0 }()

	r := round{model: m, results: []*result{{contender: b.streamOf("Image")}}}
	if err := b.inTurn(ctx, r, b.ends.place, 1); err != nil {
		return err
	}
	least := time.Duration(files) * time.Second / hubRate
	what := fmt.Sprintf("%d files, %s, the Hub at %d requests each %s", files, size(m.Bytes), b.ends.hubLimit, window)
	b.rows(what, r, least)
	took := r.results[0].median()
	b.report.hold(took.Seconds() <= atHubRate*least.Seconds(), fmt.Sprintf("%d files as Image: at most %.2f times what the Hub's limit takes", files, atHubRate),
		"%.3f times %.2f s, with %s of memory", took.Seconds()/least.Seconds(), least.Seconds(), megabytes(r.results[0].usage.Memory))
	return nil
}
