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

// segmentBytes is the size of the segments in which a raw layer is fetched: large enough
// for a request to be little beside it, and what a killed pull fetches again of each
// range at most.
const segmentBytes = 32 << 20

// maxSegments bounds the segments of a layer, whose size is foreign: larger layers have
// larger ones.
const maxSegments = 1 << 16

// A parts is a raw layer's partial file while it is filled, in segments and by several
// streams. It is hashed in order. A stream whose bytes are the next to hash hashes them
// itself, while they are in the processor's cache; what came before its turn is read back
// from the file by hash.
type parts struct {
	layer modelpack.Layer
	size  int64 // Of a segment; the last one is shorter.
	out   *os.File

	// createRecord creates the record of segments, which says what is in a file that is
	// not filled from its start only.
	createRecord func(content string) (*os.File, error)

	mu     sync.Mutex
	more   *sync.Cond // Signaled when there may be more to hash, or never will be.
	done   []int64    // The bytes of each segment that are written, from its start on.
	head   int        // The first segment that is not whole.
	next   int        // The first one that no stream was given.
	record *os.File   // Nil as long as the file is a prefix.
	hashed int64      // Where the bytes end that are hashed or about to be.
	busy   bool       // Somebody hashes those before hashed, and has sum.
	sum    hash.Hash
	free   [][]byte
	bytes  int64 // Of all buffers.
	ended  bool  // No more bytes come.
	failed bool  // The digest is of no use.
}

// newParts returns the parts of a layer whose partial file holds nothing.
func newParts(l modelpack.Layer, size int64, out *os.File) *parts {
	p := &parts{layer: l, size: max(size, l.Size/maxSegments+1), out: out, sum: l.Digest.Algorithm().Hash()}
	if l.Size > 0 {
		p.done = make([]int64, (l.Size-1)/p.size+1)
	}
	p.more = sync.NewCond(&p.mu)
	return p
}

// length returns the size of a segment.
func (p *parts) length(i int) int64 { return min(p.size, p.layer.Size-int64(i)*p.size) }

// missing returns the range of the blob that a span lacks.
func (p *parts) missing(s span) (from, to int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	last := s.end - 1
	return int64(s.first)*p.size + p.done[s.first], int64(last)*p.size + p.length(last)
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
	p.head, p.next, p.hashed, p.ended, p.failed = 0, 0, 0, false, false
	p.sum.Reset()
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

// A span is some segments of a layer, one after the other, that one request is for.
type span struct{ first, end int }

// take returns the next segment that is not whole, and up to most segments in all with
// those that follow it and of which nothing is here. It leaves half of what no stream was
// given to others, and returns an empty span if streams were given all. Before a file is
// more than a prefix, its record is created.
func (p *parts) take(most int) (span, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.next < len(p.done) && p.done[p.next] == p.length(p.next) {
		p.next++
	}
	s := span{p.next, p.next}
	if s.first == len(p.done) {
		return s, nil
	}
	last := s.first + max(1, min(most, (len(p.done)-s.first)/2))
	for s.end++; s.end < last && p.done[s.end] == 0; {
		s.end++
	}
	p.next = s.end
	p.prefix()
	if s.first > p.head && p.record == nil {
		return s, p.startRecord()
	}
	return s, nil
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

// fill writes the rest of a segment, which it reads into b.
func (p *parts) fill(i int, in io.Reader, b []byte) error {
	start, want := int64(i)*p.size, p.length(i)
	p.mu.Lock()
	at := p.done[i]
	p.mu.Unlock()
	for at < want {
		n, err := in.Read(b[:min(int64(len(b)), want-at)])
		if n > 0 {
			if _, err := p.out.WriteAt(b[:n], start+at); err != nil {
				return err
			}
			if err := p.wrote(i, start+at, b[:n]); err != nil {
				return err
			}
			at += int64(n)
			continue
		}
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// wrote takes note of bytes of a segment that were written at a place in the file, and
// hashes them if it is their turn.
func (p *parts) wrote(i int, at int64, b []byte) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.more.Signal()
	p.done[i] += int64(len(b))
	if p.record != nil && p.done[i] == p.length(i) {
		if _, err := fmt.Fprintf(p.record, recordLine, i, p.done[i]); err != nil {
			return err
		}
	}
	if p.busy || at != p.hashed {
		return nil
	}
	p.busy, p.hashed = true, at+int64(len(b))
	p.mu.Unlock()
	_, _ = p.sum.Write(b) // A hash does not fail.
	p.mu.Lock()
	p.busy = false
	return nil
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
	p.bytes, p.free = 0, nil
}

// hash hashes what came before its turn, once that is due, and returns the layer's digest
// once all of it has come, or once no more comes.
func (p *parts) hash() (digest.Digest, error) {
	var b []byte
	for {
		at, n := p.toHash()
		if n == 0 {
			return digest.NewDigest(p.layer.Digest.Algorithm(), p.sum), nil
		}
		if b == nil {
			b = p.takeBuffer()
		}
		if err := p.hashBack(b[:n], at); err != nil {
			return "", err
		}
	}
}

// hashBack hashes bytes that are in the file.
func (p *parts) hashBack(b []byte, at int64) error {
	_, err := p.out.ReadAt(b, at)
	if err == nil {
		_, _ = p.sum.Write(b)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	// After an error, the digest is of no use, whoever hashes what follows.
	p.busy = false
	return err
}

// toHash waits for bytes that are due to be hashed and that no stream hashes, and returns
// where in the file these are. There are none at the end.
func (p *parts) toHash() (at int64, n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		if p.failed {
			return 0, 0
		}
		if written := p.prefix(); !p.busy && p.hashed < written {
			at, n = p.hashed, int(min(copyBytes, p.layer.Size, written-p.hashed))
			p.hashed += int64(n)
			p.busy = true
			return at, n
		}
		if !p.busy && (p.ended || p.hashed == p.layer.Size) {
			return 0, 0
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
