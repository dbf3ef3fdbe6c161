package pull

import (
	"context"
	"io"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// copyBytes is the size of the buffer for each layer.
const copyBytes = 256 << 10

// pullRaw fetches a raw layer into the folder, with all its names.
func (j *job) pullRaw(ctx context.Context, l modelpack.Layer) error {
	start := time.Now()
	names := j.paths[l.Digest]
	here, missing, err := j.look(names)
	switch {
	case err != nil:
		return err
	case len(missing) == 0:
		j.meter.add(l, l.Size)
		j.log.Printf("%s: %d bytes, already here", names[0], l.Size)
		return j.note(here)
	case len(here) > 0:
		j.meter.add(l, l.Size)
		return errors.Join(j.note(here), j.name(slices.Collect(maps.Keys(here))[0], missing))
	}
	from, err := j.reuseRaw(ctx, l)
	if err != nil {
		return err
	}
	how := ", taken from the older folder"
	if from == "" {
		from, how = partial(l.Digest), ""
		if err := j.fetchRaw(ctx, l); err != nil {
			return err
		}
	}
	if err := j.folder.put(from, missing[0]); err != nil {
		return err
	}
	j.log.Printf("%s: %d bytes%s in %s", missing[0], l.Size, how, time.Since(start).Round(time.Millisecond))
	return j.name(missing[0], missing[1:])
}

// look returns the layer's files that are present, with their modification times, and
// the missing ones.
func (j *job) look(names []string) (here map[string]int64, missing []string, err error) {
	here = map[string]int64{}
	for _, name := range names {
		modTime, ok, err := j.folder.check(name, j.wants(name))
		if err != nil {
			return nil, nil, err
		}
		if !ok {
			missing = append(missing, name)
			continue
		}
		here[name] = modTime
	}
	return here, missing, nil
}

// name gives a file more names, and notes all of them.
func (j *job) name(from string, names []string) error {
	for _, name := range names {
		if err := j.folder.copy(from, name); err != nil {
			return err
		}
	}
	modTimes := map[string]int64{}
	for _, name := range append(names, from) {
		fi, err := j.folder.Lstat(name)
		if err != nil {
			return j.folder.failed(name, err)
		}
		modTimes[name] = fi.ModTime().UnixNano()
	}
	return j.note(modTimes)
}

// fetchRaw fetches a raw layer into its partial file.
func (j *job) fetchRaw(ctx context.Context, l modelpack.Layer) error {
	name := partial(l.Digest)
	out, err := j.folder.OpenFile(name, os.O_CREATE|os.O_RDWR, fileMode)
	if err != nil {
		return j.folder.failed(name, err)
	}
	defer func() { _ = out.Close() }()
	p := newParts(l, j.segment, out)
	p.createRecord = func(content string) (*os.File, error) { return j.createRecord(name, content) }
	defer p.drop()
	if err := j.find(p, name); err != nil {
		return j.folder.failed(name, err)
	}
	had := p.had()
	if had > 0 {
		j.log.Printf("%s: resuming after %d bytes", l.Path, had)
		j.meter.add(l, had)
	}
	err = j.fetchParts(ctx, p)
	if had > 0 && outcome.ReasonOf(err) == outcome.Mismatch {
		// The part from an earlier pull may be wrong.
		j.log.Printf("%s: the part from an earlier pull is wrong, and the layer is fetched again", l.Path)
		p.reset()
		j.meter.add(l, -l.Size)
		if err := errors.Join(out.Truncate(0), j.removeRecord(name)); err != nil {
			return j.folder.failed(name, err)
		}
		err = j.fetchParts(ctx, p)
	}
	if outcome.ReasonOf(err) == outcome.Mismatch {
		_ = errors.Join(j.folder.Remove(name), j.removeRecord(name))
	}
	if err != nil {
		return j.folder.failed(name, err)
	}
	// Without its record, a partial file is taken for a prefix, as this whole one is.
	return j.folder.failed(name, errors.Join(out.Sync(), out.Close(), j.removeRecord(name)))
}

// fetchParts fetches what a layer's partial file lacks, and verifies the digest of the
// whole.
func (j *job) fetchParts(ctx context.Context, p *parts) error {
	var sum digest.Digest
	var hashed error
	var hashing sync.WaitGroup
	hashing.Go(func() { sum, hashed = p.hash() })
	err := j.fill(ctx, p)
	p.end(err != nil)
	hashing.Wait()
	if err := errors.Join(err, p.closeRecord(), hashed); err != nil {
		return err
	}
	if sum != p.layer.Digest {
		return j.otherBytes(p.layer)
	}
	return nil
}

// fill fetches what a layer's partial file lacks: in ranges, or in one stream from a
// registry without them.
func (j *job) fill(ctx context.Context, p *parts) error {
	if len(p.done) > 1 && !j.source.whole.Load() {
		err := j.fillRanges(ctx, p)
		if !errors.Is(err, registry.ErrNoRanges) {
			return err
		}
		if !j.source.whole.Swap(true) {
			j.log.Printf("registry %s sends no ranges of blobs: each layer comes in one stream", j.source.ref.Registry)
		}
	}
	return j.fillRest(ctx, p)
}

// fillRanges fetches one range after the other, and as many segments beside it as the
// limit allows once no other layer waits.
func (j *job) fillRanges(ctx context.Context, p *parts) error {
	group, gctx := errgroup.WithContext(ctx)
	helping, stop := context.WithCancel(gctx)
	defer stop()
	group.Go(func() error {
		defer stop()
		return j.fillSpans(gctx, p)
	})
	group.Go(func() error {
		select {
		case <-j.begun:
		case <-helping.Done():
			return nil
		}
		for j.limit.Acquire(helping) == nil {
			s, err := p.take(1)
			if s.first == s.end || err != nil {
				j.limit.Release()
				return err
			}
			group.Go(func() error {
				defer j.limit.Release()
				return j.fillSpan(gctx, p, s)
			})
		}
		return nil
	})
	return group.Wait()
}

// maxSpan is how many segments one request asks for at most: a stream that becomes slow keeps
// no more of them from others.
const maxSpan = 8

// fillSpans fetches one span after the other, as many segments each time as the one before
// would have brought within requestTime, and at most twice as many as that one.
func (j *job) fillSpans(ctx context.Context, p *parts) error {
	for most := 1; ; {
		s, err := p.take(most)
		if s.first == s.end || err != nil {
			return err
		}
		from, to := p.missing(s)
		start := time.Now()
		if err := j.fillSpan(ctx, p, s); err != nil {
			return err
		}
		took := max(time.Since(start), time.Millisecond)
		fast := int(float64(to-from) * j.requestTime.Seconds() / took.Seconds() / float64(p.size))
		most = max(1, min(fast, 2*most, maxSpan))
	}
}

// fillSpan fetches what a span lacks, by one request.
func (j *job) fillSpan(ctx context.Context, p *parts, s span) error {
	from, to := p.missing(s)
	in := j.watched(p.layer, j.source.ReadRange(ctx, j.source.ref.Repository, p.layer.Descriptor, from, to, j.source.retries))
	defer func() { _ = in.Close() }()
	b := p.takeBuffer()
	defer p.giveBack(b)
	for i := s.first; i < s.end; i++ {
		if err := p.fill(i, in, b); err != nil {
			return err
		}
	}
	return nil
}

// fillRest fetches what follows the prefix of a layer that is here, in one stream.
func (j *job) fillRest(ctx context.Context, p *parts) error {
	lost, at := p.keepPrefix()
	if lost > 0 {
		j.meter.add(p.layer, -lost)
	}
	// In this order: without its record, a partial file is taken for a prefix.
	if err := errors.Join(p.closeRecord(), p.out.Truncate(at), j.removeRecord(partial(p.layer.Digest))); err != nil {
		return err
	}
	in := j.open(ctx, p.layer, at)
	defer func() { _ = in.Close() }()
	b := p.takeBuffer()
	defer p.giveBack(b)
	for i := range p.done {
		if err := p.fill(i, in, b); err != nil {
			return err
		}
	}
	return nil
}

// otherBytes returns the error of a layer with another digest.
func (j *job) otherBytes(l modelpack.Layer) error {
	return outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s@%s", j.source.ref.Registry, j.source.ref.Repository, l.Digest)
}

// An onlyWriter hides ReadFrom, so that io.CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }
