package stream

import (
	"bytes"
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"

	"golang.org/x/sync/semaphore"

	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
	"github.com/crossplane-contrib/provider-kitops/internal/parallel"
)

const (
	// prefetchFile is the size up to which a file of an archive is read before its turn:
	// the wait for a server's first byte is a small part of what a larger one takes.
	prefetchFile = 1 << 20

	// prefetchFiles is how many files of one archive are read before their turn, and how
	// many of all archives of a run at the same time, at most.
	prefetchFiles = 64
)

// A prefetcher reads the small files of archives before their turn, side by side: an
// archive is one stream of its files in order, which would otherwise wait for the answer
// to a request at each of them. It bounds the memory and the requests of all archives of
// a run together. It is safe for concurrent use.
type prefetcher struct {
	memory   *semaphore.Weighted // Of bytes that are read or wait for their turn.
	requests *parallel.Limit
	largest  int64 // The size up to which a file is read before its turn.
}

// newPrefetcher returns a prefetcher with so many bytes of memory, and this limit of requests.
func newPrefetcher(memory int64, requests *parallel.Limit) *prefetcher {
	return &prefetcher{memory: semaphore.NewWeighted(memory), requests: requests, largest: min(prefetchFile, memory)}
}

// newPrefetchLimit returns the limit of requests for files that are read before their turn.
func newPrefetchLimit() *parallel.Limit {
	return parallel.New(parallel.Options{Min: 8, Start: 16, Max: prefetchFiles, Samples: 4})
}

// A fileQueue opens the files of one archive in their order. Some of the next ones are
// read meanwhile. It is for one goroutine at a time.
type fileQueue struct {
	*prefetcher

	ctx     context.Context //nolint:containedctx // Of all of the reading.
	cancel  context.CancelFunc
	direct  modelpack.OpenFunc // Opens a file at once.
	running sync.WaitGroup

	rest  []modelpack.File // That were not looked at yet.
	ahead []*prefetched    // In order.
}

// A prefetched file is read before its turn.
type prefetched struct {
	file    modelpack.File
	claimed atomic.Bool   // By the goroutine that reads it ahead, or by the queue's caller.
	done    chan struct{} // Closed when the goroutine has ended.

	// What it has read, once it has claimed the file and ended.
	content *bytes.Reader
	held    bool // Memory is held for the content.
	err     error
}

// queue returns the queue of these files. The context is for all of the reading, and
// open opens one file. It must be safe for concurrent use. The caller must call close.
func (p *prefetcher) queue(ctx context.Context, files []modelpack.File, open func(ctx context.Context, f modelpack.File, offset int64) (io.ReadCloser, error)) *fileQueue {
	q := &fileQueue{prefetcher: p, rest: files}
	q.ctx, q.cancel = context.WithCancel(ctx)
	q.direct = func(f modelpack.File, offset int64) (io.ReadCloser, error) { return open(q.ctx, f, offset) }
	return q
}

// open is a modelpack.OpenFunc. The first file that it opens may be any; the others must
// follow in their order.
func (q *fileQueue) open(f modelpack.File, offset int64) (io.ReadCloser, error) {
	if err := q.ctx.Err(); err != nil {
		return nil, err
	}
	next := q.pop(f)
	q.fill()
	if next == nil || next.claimed.CompareAndSwap(false, true) {
		return q.direct(f, offset)
	}
	<-next.done
	if next.err != nil {
		return nil, next.err
	}
	_, _ = next.content.Seek(offset, io.SeekStart)
	return &prefetchedReader{Reader: next.content, free: func() { q.free(next) }}, nil
}

// pop returns the file if it is the first one of those that are read ahead. Otherwise it
// returns nil, and has the files after this one be read next.
func (q *fileQueue) pop(f modelpack.File) *prefetched {
	if len(q.ahead) > 0 && q.ahead[0].file.Path == f.Path {
		first := q.ahead[0]
		q.ahead = q.ahead[1:]
		return first
	}
	if i := slices.IndexFunc(q.rest, func(one modelpack.File) bool { return one.Path == f.Path }); i >= 0 {
		q.rest = q.rest[i+1:]
	}
	return nil
}

// fill has more files be read ahead.
func (q *fileQueue) fill() {
	for len(q.rest) > 0 && len(q.ahead) < prefetchFiles {
		f := q.rest[0]
		q.rest = q.rest[1:]
		if f.Size <= 0 || f.Size > q.largest {
			continue
		}
		p := &prefetched{file: f, done: make(chan struct{})}
		q.ahead = append(q.ahead, p)
		q.running.Go(func() {
			defer close(p.done)
			q.prefetch(p)
		})
	}
}

// prefetch reads a file, unless it is its turn before that can begin.
func (q *fileQueue) prefetch(p *prefetched) {
	// Memory first: what is read waits for nothing but its server, so that whoever waits
	// for a request or for a file that was claimed gets it.
	if q.memory.Acquire(q.ctx, p.file.Size) != nil {
		return
	}
	p.held = true
	if q.requests.Acquire(q.ctx) != nil {
		q.free(p)
		return
	}
	defer q.requests.Release()
	if !p.claimed.CompareAndSwap(false, true) {
		q.free(p)
		return
	}
	if p.content, p.err = q.read(p.file); p.err != nil {
		q.free(p)
		return
	}
	q.requests.Add(1)
}

// read reads a file.
func (q *fileQueue) read(f modelpack.File) (*bytes.Reader, error) {
	rc, err := q.direct(f, 0)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rc.Close() }()
	content := make([]byte, f.Size)
	if _, err := io.ReadFull(rc, content); err != nil {
		return nil, err
	}
	return bytes.NewReader(content), nil
}

// free gives the memory for a file back, once.
func (q *fileQueue) free(p *prefetched) {
	if p.held {
		q.memory.Release(p.file.Size)
	}
	p.held, p.content = false, nil
}

// close ends all that is read ahead, and returns when nothing is left of it.
func (q *fileQueue) close() {
	q.cancel()
	q.running.Wait()
	for _, p := range q.ahead {
		q.free(p)
	}
	q.ahead, q.rest = nil, nil
}

// A prefetchedReader reads a file that was read ahead.
type prefetchedReader struct {
	io.Reader

	free func()
}

// Close implements io.Closer.
func (r *prefetchedReader) Close() error {
	r.free()
	return nil
}
