package pull

import (
	"context"
	"hash"
	"io"
	"maps"
	"os"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
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
	if err := j.fetchRaw(ctx, l); err != nil {
		return err
	}
	if err := j.folder.put(partial(l.Digest), missing[0]); err != nil {
		return err
	}
	j.log.Printf("%s: %d bytes in %s", missing[0], l.Size, time.Since(start).Round(time.Millisecond))
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
	hash := l.Digest.Algorithm().Hash()
	had, err := j.resume(out, hash, l)
	if err != nil {
		return err
	}
	err = j.appendRaw(ctx, out, hash, l, had)
	if had > 0 && outcome.ReasonOf(err) == outcome.Mismatch {
		// The part from an earlier pull may be wrong.
		j.log.Printf("%s: the part from an earlier pull is wrong, and the layer is fetched again", l.Path)
		hash.Reset()
		j.meter.add(l, -l.Size)
		if err := errors.Join(out.Truncate(0), seekTo(out, 0)); err != nil {
			return j.folder.failed(name, err)
		}
		err = j.appendRaw(ctx, out, hash, l, 0)
	}
	if outcome.ReasonOf(err) == outcome.Mismatch {
		_ = j.folder.Remove(name)
	}
	if err != nil {
		return j.folder.failed(name, err)
	}
	return j.folder.failed(name, errors.Join(out.Sync(), out.Close()))
}

// resume hashes the part of a layer that is present, and returns its size.
func (j *job) resume(out *os.File, h hash.Hash, l modelpack.Layer) (int64, error) {
	had, err := io.CopyBuffer(onlyWriter{h}, io.LimitReader(out, l.Size), make([]byte, copyBytes))
	if err != nil {
		return 0, j.folder.failed(partial(l.Digest), err)
	}
	if had > 0 {
		j.log.Printf("%s: resuming after %d bytes", l.Path, had)
		j.meter.add(l, had)
	}
	return had, j.folder.failed(partial(l.Digest), errors.Join(out.Truncate(had), seekTo(out, had)))
}

// appendRaw fetches a layer from an offset on, and verifies the whole layer's digest.
func (j *job) appendRaw(ctx context.Context, out io.Writer, h hash.Hash, l modelpack.Layer, offset int64) error {
	in := j.source.open(ctx, l.Descriptor, offset, func(n int) { j.meter.add(l, int64(n)) })
	defer func() { _ = in.Close() }()
	if _, err := io.CopyBuffer(onlyWriter{io.MultiWriter(out, h)}, in, make([]byte, copyBytes)); err != nil {
		return err
	}
	if digest.NewDigest(l.Digest.Algorithm(), h) != l.Digest {
		return j.otherBytes(l)
	}
	return nil
}

// otherBytes returns the error of a layer with another digest.
func (j *job) otherBytes(l modelpack.Layer) error {
	return outcome.Errorf(outcome.Mismatch, "registry %s sent other bytes than those of %s@%s", j.source.ref.Registry, j.source.ref.Repository, l.Digest)
}

// seekTo seeks to an offset from the start.
func seekTo(out *os.File, offset int64) error {
	_, err := out.Seek(offset, io.SeekStart)
	return err
}

// An onlyWriter hides ReadFrom, so that io.CopyBuffer uses its buffer.
type onlyWriter struct{ io.Writer }
