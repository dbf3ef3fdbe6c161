package stream

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

// A slowSource answers each request after a while, and counts.
type slowSource struct {
	wait time.Duration
	fail string // The path of a file that cannot be read.

	now, most atomic.Int64

	mu    sync.Mutex
	asked map[string]int
}

var errSlow = errors.New("it cannot be read")

func (s *slowSource) open(ctx context.Context, f modelpack.File, offset int64) (io.ReadCloser, error) {
	s.mu.Lock()
	if s.asked == nil {
		s.asked = map[string]int{}
	}
	s.asked[f.Path]++
	s.mu.Unlock()
	s.most.Store(max(s.most.Load(), s.now.Add(1)))
	defer s.now.Add(-1)
	select {
	case <-time.After(s.wait):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if f.Path == s.fail {
		return nil, errSlow
	}
	return io.NopCloser(bytes.NewReader(contentOf(f)[offset:])), nil
}

// contentOf returns the content of a file.
func contentOf(f modelpack.File) []byte {
	return bytes.Repeat([]byte(f.Path+"\n"), int(f.Size)/len(f.Path)+1)[:f.Size]
}

// filesOf returns files of these sizes.
func filesOf(sizes ...int64) []modelpack.File {
	out := make([]modelpack.File, 0, len(sizes))
	for i, n := range sizes {
		out = append(out, modelpack.File{Path: fmt.Sprintf("file-%05d", i), Size: n})
	}
	return out
}

// TestPrefetch reads archives of files of different sizes from a slow source.
func TestPrefetch(t *testing.T) {
	small := slices.Repeat([]int64{1000}, 320)
	cases := map[string]struct {
		reason string
		files  []modelpack.File
		offset int64
		memory int64
		wait   time.Duration // How long it takes, in waits for one answer.
		most   int64
	}{
		"Small":  {reason: "The requests for small files should wait side by side.", files: filesOf(small...), memory: 16 << 20, wait: 20, most: prefetchFiles + 1},
		"Memory": {reason: "No more files than memory has room for should be read ahead.", files: filesOf(small...), memory: 3000, wait: 160, most: 4},
		"None":   {reason: "Without memory, each file should be read at its turn.", files: filesOf(small...), memory: 0, wait: 320, most: 1},
		"Large":  {reason: "A large file should be read at its turn, and small ones after it ahead.", files: filesOf(1000, 2<<20, 1000, 1000, 2<<20, 1000), memory: 16 << 20, wait: 3, most: 4},
		"Empty":  {reason: "An empty file needs no request.", files: filesOf(0, 1000, 0, 0, 1000, 0), memory: 16 << 20, wait: 1, most: 2},
		"Inside": {reason: "A layer may be read from the middle of a file on.", files: filesOf(small...), offset: 150_000, memory: 16 << 20, wait: 12, most: prefetchFiles + 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &slowSource{wait: time.Second}
				p := newPrefetcher(tc.memory, newPrefetchLimit())
				q := p.queue(t.Context(), tc.files, s.open)
				start := time.Now()
				var got, want bytes.Buffer
				at := tc.offset
				for _, f := range tc.files {
					if at >= f.Size {
						at -= f.Size
						continue
					}
					want.Write(contentOf(f)[at:])
					rc, err := q.open(f, at)
					if err != nil {
						t.Fatal(err)
					}
					_, _ = io.Copy(&got, rc)
					_ = rc.Close()
					at = 0
				}
				q.close()
				if !bytes.Equal(want.Bytes(), got.Bytes()) {
					t.Errorf("\n%s\nwant the files' %d bytes in their order, got %d others", tc.reason, want.Len(), got.Len())
				}
				if took := time.Since(start) / time.Second; took > tc.wait {
					t.Errorf("\n%s\nwant it to take at most %d waits, got %d", tc.reason, tc.wait, took)
				}
				if s.most.Load() > tc.most {
					t.Errorf("\n%s\nwant at most %d requests at a time, got %d", tc.reason, tc.most, s.most.Load())
				}
				if !p.memory.TryAcquire(max(tc.memory, 1)) && tc.memory > 0 {
					t.Errorf("\n%s\nwant all memory to be given back", tc.reason)
				}
				for path, n := range s.asked {
					if n != 1 {
						t.Errorf("\n%s\nwant %s to be requested once, got %d", tc.reason, path, n)
					}
				}
			})
		})
	}
}

// TestPrefetchEnds ends the reading of an archive early. A bubble ends only once all of
// its goroutines have.
func TestPrefetchEnds(t *testing.T) {
	cases := map[string]struct {
		reason string
		fail   string
		cancel bool
		want   error
		read   int
	}{
		"Closed":    {reason: "What was read ahead should be dropped when nobody reads on.", read: 10},
		"Failed":    {reason: "The error of a file that was read ahead should come at its turn.", fail: "file-00020", read: 20, want: errSlow},
		"Cancelled": {reason: "Nothing should be requested any more once the context has ended.", cancel: true, read: 1, want: context.Canceled},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, p := &slowSource{wait: time.Second, fail: tc.fail}, newPrefetcher(1<<20, newPrefetchLimit())
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				files := filesOf(slices.Repeat([]int64{1000}, 100)...)
				q := p.queue(ctx, files, s.open)
				var err error
				read := 0
				for _, f := range files {
					var rc io.ReadCloser
					if rc, err = q.open(f, 0); err != nil || tc.want == nil && read == tc.read {
						break
					}
					_, _ = io.Copy(io.Discard, rc)
					_ = rc.Close()
					if read++; tc.cancel {
						cancel()
					}
				}
				q.close()
				if !errors.Is(err, tc.want) || read != tc.read {
					t.Errorf("\n%s\nwant %d files and %v, got %d and %v", tc.reason, tc.read, tc.want, read, err)
				}
				if tc.want != nil && !p.memory.TryAcquire(1<<20) {
					t.Errorf("\n%s\nwant all memory to be given back", tc.reason)
				}
			})
		})
	}
}

// TestPrefetchSameDigest packs many small files with and without memory to read ahead.
func TestPrefetchSameDigest(t *testing.T) {
	t.Parallel()
	files := map[string]string{}
	for i := range 150 {
		files[fmt.Sprintf("data/%03d/sample-%04d.json", i%7, i)] = strings.Repeat(fmt.Sprint(i), 5000+i*100)
	}
	digests := map[string]string{}
	for name, ahead := range map[string]int64{"Ahead": 16 << 20, "Little": 100 << 10, "None": 0} {
		w := newStreamWorld(t, files, nil)
		w.stream.prefetch, w.stream.inMemory, w.run.Format = ahead, 1<<10, "Image"
		got, err := w.stream.Run(t.Context(), w.run)
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, w.log)
		}
		digests[name] = got.Digest
	}
	if diff := cmp.Diff(map[string]string{"Ahead": digests["None"], "Little": digests["None"], "None": digests["None"]}, digests); diff != "" {
		t.Errorf("want the same digest however much is read ahead: -want, +got:\n%s", diff)
	}
}
