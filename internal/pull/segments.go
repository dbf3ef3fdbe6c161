package pull

import (
	"fmt"
	"hash"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/memory"
	"github.com/crossplane-contrib/provider-kitops/internal/modelpack"
)

const (
	// segmentBytes is the size of the ranges in which a raw layer is fetched: large
	// enough for a request to be little beside it, and what a killed pull fetches again
	// of each range.
	segmentBytes = 32 << 20

	// maxQueued is how many buffers of a layer may wait to be hashed. What does not fit
	// is read back from the file, which is in the page cache then.
	maxQueued = 2
)

// maxSegments bounds the segments of a layer, whose size is foreign: larger layers have
// larger ones.
const maxSegments = 1 << 16

// A parts is a raw layer's partial file while it is filled, in segments and by several
// streams. It is hashed in order and beside that, from the streams' buffers where they
// come in order.
type parts struct {
	layer modelpack.Layer
	size  int64 // Of a segment; the last one is shorter.
	out   *os.File

	// createRecord creates the record of segments, which says what is in a file that is
	// not filled from its start only.
	createRecord func(content string) (*os.File, error)

	mu     sync.Mutex
	more   *sync.Cond // Signaled when there is more to hash, or never will be.
	done   []int64    // The bytes of each segment that are written, from its start on.
	head   int        // The first segment that is not whole.
	next   int        // The first one that no stream was given.
	record *os.File   // Nil as long as the file is a prefix.
	queued int64      // Where the bytes end that are hashed or about to be.
	queue  [][]byte
	free   [][]byte
	bytes  int64 // Of all buffers.
	ended  bool  // No more bytes come.
	failed bool  // The digest is of no use.
}

// newParts returns the parts of a layer whose partial file holds nothing.
func newParts(l modelpack.Layer, size int64, out *os.File) *parts {
	p := &parts{layer: l, size: max(size, l.Size/maxSegments+1), out: out}
	if l.Size > 0 {
		p.done = make([]int64, (l.Size-1)/p.size+1)
	}
	p.more = sync.NewCond(&p.mu)
	return p
}

// length returns the size of a segment.
func (p *parts) length(i int) int64 { return min(p.size, p.layer.Size-int64(i)*p.size) }

// missing returns the range of the blob that a segment lacks.
func (p *parts) missing(i int) (from, to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	start := int64(i) * p.size
	return start + p.done[i], start + p.length(i)
}

// had returns how many bytes are written.
func (p *parts) had() int64 {
	var n int64
	for _, d := range p.done {
		n += d
	}
	return n
}

// prefix returns how many bytes are written from the start on. p.mu must be held.
func (p *parts) prefix() int64 {
	for p.head < len(p.done) && p.done[p.head] == p.length(p.head) {
		p.head++
	}
	if p.head == len(p.done) {
		return p.layer.Size
	}
	return int64(p.head)*p.size + p.done[p.head]
}

// reset forgets all that is written.
func (p *parts) reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.done)
	p.head, p.next, p.queued, p.ended, p.failed = 0, 0, 0, false, false
	p.queue = nil
}

// keepPrefix forgets what is written behind a gap. It returns how many bytes that is, and
// how many there are before.
func (p *parts) keepPrefix() (lost, kept int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept = p.prefix()
	for i := p.head + 1; i < len(p.done); i++ {
		lost += p.done[i]
		p.done[i] = 0
	}
	return lost, kept
}

// take returns the next segment that is not whole, or false if streams were given all.
// Before a file is more than a prefix, its record is created.
func (p *parts) take() (int, bool, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.next < len(p.done) && p.done[p.next] == p.length(p.next) {
		p.next++
	}
	if p.next == len(p.done) {
		return 0, false, nil
	}
	i := p.next
	p.next++
	p.prefix()
	if i > p.head && p.record == nil {
		if err := p.startRecord(); err != nil {
			return 0, false, err
		}
	}
	return i, true, nil
}

// startRecord creates the record, with what is written so far. p.mu must be held.
func (p *parts) startRecord() (err error) {
	p.record, err = p.createRecord(fmt.Sprintf(recordHead, p.size, p.layer.Size) + p.lines(func(n, _ int64) bool { return n > 0 }))
	return err
}

// lines returns the lines of a record for segments of whose bytes n are written, if want
// reports so.
func (p *parts) lines(want func(n, length int64) bool) string {
	var b strings.Builder
	for i, n := range p.done {
		if want(n, p.length(i)) {
			fmt.Fprintf(&b, recordLine, i, n)
		}
	}
	return b.String()
}

// closeRecord ends the record, if there is one, with what is written of segments that
// are not whole.
func (p *parts) closeRecord() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.record == nil {
		return nil
	}
	_, err := p.record.WriteString(p.lines(func(n, length int64) bool { return n > 0 && n < length }))
	err = errors.Join(err, p.record.Close())
	p.record = nil
	return err
}

// fill writes the rest of a segment. It returns the buffer to use for the next one: the
// one that it got may wait to be hashed.
func (p *parts) fill(i int, in io.Reader, b []byte) ([]byte, error) {
	start, want := int64(i)*p.size, p.length(i)
	p.mu.Lock()
	at := p.done[i]
	p.mu.Unlock()
	for at < want {
		n, err := in.Read(b[:min(int64(len(b)), want-at)])
		if n > 0 {
			if _, err := p.out.WriteAt(b[:n], start+at); err != nil {
				return b, err
			}
			at += int64(n)
			if b, err = p.wrote(i, start+at, b[:n]); err != nil {
				return b, err
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

// wrote takes note of bytes of a segment that were written up to a place in the file. It
// hands them on to be hashed if it is their turn, and returns the buffer to use next.
func (p *parts) wrote(i int, to int64, b []byte) ([]byte, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done[i] += int64(len(b))
	var err error
	if p.record != nil && p.done[i] == p.length(i) {
		_, err = fmt.Fprintf(p.record, recordLine, i, p.done[i])
	}
	next := b[:cap(b)]
	if to-int64(len(b)) == p.queued && len(p.queue) < maxQueued {
		p.queue = append(p.queue, b)
		p.queued = to
		next = p.buffer()
	}
	p.more.Signal()
	return next, err
}

// buffer returns a buffer. p.mu must be held.
func (p *parts) buffer() []byte {
	if n := len(p.free); n > 0 {
		b := p.free[n-1]
		p.free = p.free[:n-1]
		return b
	}
	b := make([]byte, max(1, min(copyBytes, p.layer.Size)))
	p.bytes += int64(len(b))
	memory.AddBuffers(int64(len(b)))
	return b
}

// takeBuffer returns a buffer, which giveBack takes.
func (p *parts) takeBuffer() []byte {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.buffer()
}

// end says that no more bytes come, and whether there is an error, so that no digest is
// needed.
func (p *parts) end(failed bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ended, p.failed = true, failed
	p.more.Broadcast()
}

// drop drops all buffers, once neither a stream nor hash runs any more.
func (p *parts) drop() {
	p.mu.Lock()
	defer p.mu.Unlock()
	memory.AddBuffers(-p.bytes)
	p.bytes, p.free, p.queue = 0, nil, nil
}

// hash hashes the layer in order, while it comes, and returns its digest once all of it
// has come, or once no more comes.
func (p *parts) hash() (digest.Digest, error) {
	h := p.layer.Digest.Algorithm().Hash()
	var own []byte
	for {
		b, at, n := p.toHash()
		switch {
		case b != nil:
			_, _ = h.Write(b) // A hash does not fail.
			p.giveBack(b)
		case n > 0:
			if own == nil {
				own = p.takeBuffer()
			}
			if err := p.hashBack(h, own[:n], at); err != nil {
				return "", err
			}
		default:
			return digest.NewDigest(p.layer.Digest.Algorithm(), h), nil
		}
	}
}

// hashBack hashes bytes that are in the file.
func (p *parts) hashBack(h hash.Hash, b []byte, at int64) error {
	if _, err := p.out.ReadAt(b, at); err != nil {
		return err
	}
	_, _ = h.Write(b)
	return nil
}

// toHash waits for what is to be hashed next, and returns it: a buffer, or where n bytes
// are in the file. It returns neither at the end.
func (p *parts) toHash() (b []byte, at int64, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.failed {
			return nil, 0, 0
		}
		if len(p.queue) > 0 {
			b, p.queue = p.queue[0], p.queue[1:]
			return b, 0, 0
		}
		if written := p.prefix(); p.queued < written {
			at, n = p.queued, int(min(copyBytes, p.layer.Size, written-p.queued))
			p.queued += int64(n)
			return nil, at, n
		}
		if p.ended || p.queued == p.layer.Size {
			return nil, 0, 0
		}
		p.more.Wait()
	}
}

// giveBack makes a buffer available again.
func (p *parts) giveBack(b []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.free = append(p.free, b[:cap(b)])
}
