package pull

import (
	"cmp"
	"context"
	"io"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/opencontainers/go-digest"
	"golang.org/x/sync/errgroup"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
)

// A job fetches the files of an artifact that its folder lacks.
type job struct {
	*Pull

	source *source
	folder *folder
	layers []modelpack.Layer          // Each content once.
	paths  map[digest.Digest][]string // Of raw layers.
	former *former                    // Nil if nothing is taken from an older folder.

	meter meter
	limit *parallel.Limit // Of what is fetched concurrently.
	begun chan struct{}   // Closed once all layers have begun, so that slots are left for ranges.

	mu    sync.Mutex // Guards what follows.
	state *state
}

// newJob prepares the folder for an artifact: it removes the files of a former one, and
// records the files that the pull is going to write in the state.
func newJob(p *Pull, src *source, f *folder, s *state, d digest.Digest, layers []modelpack.Layer) (*job, error) {
	j := &job{Pull: p, source: src, folder: f, state: s, paths: map[digest.Digest][]string{}, limit: parallel.New(p.parallel()), begun: make(chan struct{})}
	wanted, err := j.plan(layers)
	if err != nil {
		return nil, err
	}
	if err := j.removeFormer(wanted); err != nil {
		return nil, err
	}
	if err := j.claim(wanted); err != nil {
		return nil, err
	}
	s.Digest, s.Complete = d, false
	return j, f.saveState(s)
}

// plan sets the layers to fetch, and returns the files of raw layers.
func (j *job) plan(layers []modelpack.Layer) (map[string]*file, error) {
	type content struct {
		key string
		raw bool
	}
	seen := map[content]bool{}
	wanted := map[string]*file{}
	for _, l := range layers {
		c := content{l.Key(), l.Encoding == modelpack.Raw}
		if !seen[c] {
			seen[c] = true
			j.layers = append(j.layers, l)
			j.meter.total += l.Size
		}
		if !c.raw {
			continue
		}
		name, err := filePath(l.Path)
		if err != nil {
			return nil, err
		}
		if wanted[name] == nil {
			wanted[name] = &file{Digest: l.Digest, Size: l.Size}
			j.paths[l.Digest] = append(j.paths[l.Digest], name)
		}
	}
	// Large layers come first, so that the pull does not end with one of them.
	slices.SortStableFunc(j.layers, func(a, b modelpack.Layer) int { return cmp.Compare(b.Size, a.Size) })
	return wanted, nil
}

// removeFormer removes the files of a former artifact, and the partial layers, that
// this artifact does not have.
func (j *job) removeFormer(wanted map[string]*file) error {
	keep := map[string]bool{}
	for _, l := range j.layers {
		keep[partial(l.Digest)] = l.Encoding == modelpack.Raw || keep[partial(l.Digest)]
		keep[segmentsOf(partial(l.Digest))] = keep[partial(l.Digest)]
		keep[unpacked(l.Key())] = l.Encoding != modelpack.Raw || keep[unpacked(l.Key())]
	}
	if err := j.folder.clean(keep); err != nil {
		return err
	}
	archived := map[string]bool{}
	for key, names := range j.state.Archives {
		if !keep[unpacked(key)] || j.contradicted(names, wanted) {
			delete(j.state.Archives, key)
			continue
		}
		for _, name := range names {
			archived[name] = true
		}
	}
	for name, was := range j.state.Files {
		if want, ok := wanted[name]; archived[name] || ok && want.Digest == was.Digest {
			continue
		}
		if err := j.folder.remove(name); err != nil {
			return err
		}
		delete(j.state.Files, name)
	}
	return nil
}

// contradicted reports whether a raw layer has different content for one of an
// archive's files.
func (j *job) contradicted(names []string, wanted map[string]*file) bool {
	return slices.ContainsFunc(names, func(name string) bool {
		want, ok := wanted[name]
		return ok && want.Digest != j.state.Files[name].Digest
	})
}

// claim records the files of raw layers in the state. It returns an error if there is
// a foreign file with one of their names and different content.
func (j *job) claim(wanted map[string]*file) error {
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		if j.state.Files[name] != nil {
			continue
		}
		modTime, err := j.adopt(name, *wanted[name])
		if err != nil {
			return err
		}
		wanted[name].ModTime = modTime
		j.state.Files[name] = wanted[name]
	}
	return nil
}

// adopt returns the modification time of the file that has the name of one to write, or
// zero if there is none. It returns an error if that file has different content.
func (j *job) adopt(name string, want file) (int64, error) {
	if _, err := j.folder.Lstat(name); err != nil {
		return 0, nil //nolint:nilerr // The file does not exist, or writing it fails, too.
	}
	modTime, same, err := j.folder.check(name, want)
	if err != nil || same {
		return modTime, err
	}
	return 0, outcome.Errorf(outcome.Unsupported,
		"%s contains %q, which was not pulled and is not the artifact's: use an empty folder", j.folder.Name(), name)
}

// run fetches all layers, several of them concurrently.
func (j *job) run(ctx context.Context) error {
	j.log.Printf("pulling %s: %d layers, %d bytes", j.source.ref, len(j.layers), j.meter.total)
	ctx = connection.WithOverload(ctx, func(*http.Request) { j.limit.BackOff() })
	stop := j.logProgress()
	defer stop()
	err := j.pullAll(ctx)
	j.mu.Lock()
	defer j.mu.Unlock()
	if err != nil {
		// The next pull need not read complete files again.
		_ = j.folder.saveState(j.state)
		return err
	}
	if err := j.folder.clean(nil); err != nil {
		return err
	}
	j.state.Complete = true
	return j.folder.saveState(j.state)
}

// pullAll fetches all layers.
func (j *job) pullAll(ctx context.Context) error {
	group, gctx := errgroup.WithContext(ctx)
	var stopped error
	for _, l := range j.layers {
		if stopped = j.limit.Acquire(gctx); stopped != nil {
			break
		}
		group.Go(func() error {
			defer j.limit.Release()
			defer j.meter.begin(l)()
			if l.Encoding == modelpack.Raw {
				return j.pullRaw(gctx, l)
			}
			return j.pullArchive(gctx, l)
		})
	}
	close(j.begun)
	if err := group.Wait(); err != nil {
		return err
	}
	return stopped
}

// open returns a layer's bytes from an offset on. It sends no request before the first
// read.
func (j *job) open(ctx context.Context, l modelpack.Layer, offset int64) io.ReadCloser {
	return j.watched(l, j.source.ReadBlob(ctx, j.source.ref.Repository, l.Descriptor, offset, l.Size, j.source.retries))
}

// watched counts the bytes of a layer that are read.
func (j *job) watched(l modelpack.Layer, in io.ReadCloser) io.ReadCloser {
	return &blob{ReadCloser: in, moved: func(n int) {
		j.meter.add(l, int64(n))
		j.limit.Add(int64(n))
	}}
}

// A blob is a stream of a layer's bytes that reports its progress.
type blob struct {
	io.ReadCloser

	moved func(n int) // Called with the number of bytes of each read.
}

// Read implements io.Reader.
func (b *blob) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.moved(n)
	return n, err
}

// logProgress logs the progress periodically until it is stopped, or passes it to who
// watches.
func (j *job) logProgress() func() {
	show := j.options.Progress
	if show == nil {
		show = func(p Progress) { j.log.Printf("%d of %d bytes", p.Done, p.Total) }
	}
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(j.tick)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				show(j.meter.progress())
			}
		}
	})
	return func() { close(done); wg.Wait() }
}

// note records in the state that files are complete. They were claimed before, so a
// change that does not reach the disk loses nothing.
func (j *job) note(modTimes map[string]int64) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := change{Files: make(map[string]*file, len(modTimes))}
	for name, t := range modTimes {
		f := j.state.Files[name]
		f.ModTime = t
		c.Files[name] = f
	}
	return j.folder.record(j.state, c, false)
}

// wants returns the expected file with a name.
func (j *job) wants(name string) file {
	j.mu.Lock()
	defer j.mu.Unlock()
	return *j.state.Files[name]
}

// nameAll gives the files of the verified archive with this key their names, after it
// has recorded them in the state.
func (j *job) nameAll(key string, entries []entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	names := make([]string, 0, len(entries))
	fresh := make([]entry, 0, len(entries))
	for _, e := range entries {
		here, err := j.nameable(e)
		if err != nil {
			return err
		}
		if !here {
			fresh = append(fresh, e)
		}
		names = append(names, e.name)
	}
	c := change{Files: make(map[string]*file, len(fresh)), Archives: map[string][]string{key: names}}
	for _, e := range fresh {
		j.state.Files[e.name] = &e.file
		c.Files[e.name] = &e.file
	}
	j.state.Archives[key] = names
	if err := j.folder.record(j.state, c, true); err != nil {
		return err
	}
	for _, e := range fresh {
		if err := j.folder.put(e.from, e.name); err != nil {
			return err
		}
	}
	return j.folder.failed(unpacked(key), j.folder.RemoveAll(unpacked(key)))
}

// nameable reports whether a file is already present, because another layer contains it,
// too. It returns an error if a file with its name has different content.
func (j *job) nameable(e entry) (bool, error) {
	claimed := j.state.Files[e.name]
	switch {
	case claimed == nil:
		_, err := j.adopt(e.name, e.file)
		return false, err
	case claimed.Digest != e.file.Digest:
		return false, outcome.Errorf(outcome.Unsupported, "the artifact contains the file %q twice, with different content", outcome.Shorten(e.name))
	}
	return claimed.ModTime != 0 && j.folder.unchanged(e.name, claimed), nil
}
