package stream

import (
	"crypto/sha256"
	"encoding"
	"hash"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/opencontainers/go-digest"
)

const (
	// hashBlock is how many bytes a layerHash passes to its goroutine at a time, and
	// hashBlocks how many such blocks it has: enough that neither side waits for the other
	// at each of them.
	hashBlock  = 128 << 10
	hashBlocks = 4
)

// A layerHash computes the SHA-256 of a layer. While there are processors to spare, that
// of a large layer is computed in a goroutine of its own, a few blocks behind what was
// written, so that the writer reads, hashes files and sends meanwhile.
//
// All methods but state are for one goroutine at a time. The caller must call close.
type layerHash struct {
	spare   func() bool    // Reports whether another goroutine would be faster; nil if never.
	block   []byte         // What was written and not passed on yet.
	full    chan []byte    // Blocks to hash, in order; nil before the first one.
	free    chan []byte    // Blocks to fill.
	pending sync.WaitGroup // One for each block that was passed on and is not hashed yet.
	ended   sync.WaitGroup // The goroutine.

	mu     sync.Mutex // Held while a block is hashed.
	sum    hash.Hash
	hashed int64 // The number of bytes that sum covers.
}

// newLayerHash returns the hash of a layer, which has a goroutine only while there are
// processors to spare. A nil spare says that there are none.
func newLayerHash(spare func() bool) *layerHash {
	return &layerHash{spare: spare, sum: sha256.New()}
}

// hashers counts the layers that are hashed while they are moved.
type hashers struct{ now atomic.Int64 }

// spare reports whether there are two processors for each layer that is hashed. With fewer,
// passing blocks to another goroutine takes time and saves none: all are busy.
func (h *hashers) spare() bool { return 2*h.now.Load() <= int64(runtime.GOMAXPROCS(0)) }

// Write implements io.Writer. It never fails.
func (h *layerHash) Write(p []byte) (int, error) {
	if h.spare == nil || !h.spare() {
		h.finish()
		h.add(p)
		return len(p), nil
	}
	for rest := p; len(rest) > 0; {
		if h.block == nil {
			h.start()
			h.block = (<-h.free)[:0]
		}
		n := min(len(rest), hashBlock-len(h.block))
		h.block, rest = append(h.block, rest[:n]...), rest[n:]
		if len(h.block) == hashBlock {
			h.pass()
		}
	}
	return len(p), nil
}

// start starts the goroutine, once.
func (h *layerHash) start() {
	if h.full != nil {
		return
	}
	h.full, h.free = make(chan []byte, hashBlocks), make(chan []byte, hashBlocks)
	for range hashBlocks {
		h.free <- make([]byte, 0, hashBlock)
	}
	h.ended.Go(func() {
		for b := range h.full {
			h.add(b)
			h.free <- b
			h.pending.Done()
		}
	})
}

// pass passes the block on.
func (h *layerHash) pass() {
	h.pending.Add(1)
	h.full <- h.block
	h.block = nil
}

// add hashes bytes.
func (h *layerHash) add(p []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	_, _ = h.sum.Write(p)
	h.hashed += int64(len(p))
}

// finish returns when all that was written is hashed.
func (h *layerHash) finish() {
	if len(h.block) > 0 {
		h.pass()
	}
	h.pending.Wait()
}

// digest returns the digest of all that was written.
func (h *layerHash) digest() digest.Digest {
	h.finish()
	return digest.NewDigest(digest.SHA256, h.sum)
}

// reset forgets all that was written.
func (h *layerHash) reset() {
	h.finish()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sum.Reset()
	h.hashed = 0
}

// state returns the state of the hash, and the number of bytes that it covers: fewer
// than were written, if the goroutine is behind. It returns no state if there is none.
// It may be called at any time.
func (h *layerHash) state() (int64, []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	m, ok := h.sum.(encoding.BinaryMarshaler)
	if !ok {
		return 0, nil
	}
	b, err := m.MarshalBinary()
	if err != nil {
		return 0, nil
	}
	return h.hashed, b
}

// restore continues the hash of so many bytes that had this state, before anything was
// written. It reports whether it could.
func (h *layerHash) restore(state []byte, hashed int64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	sum := sha256.New()
	u, ok := sum.(encoding.BinaryUnmarshaler)
	if !ok || u.UnmarshalBinary(state) != nil {
		return false
	}
	h.sum, h.hashed = sum, hashed
	return true
}

// close ends the goroutine. Nothing may be written afterwards.
func (h *layerHash) close() {
	if h.full != nil {
		close(h.full)
		h.ended.Wait()
	}
}
