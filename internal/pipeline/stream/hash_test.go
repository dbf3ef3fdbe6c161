package stream

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/opencontainers/go-digest"
)

// randomBytes are the same bytes each time.
func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{}).Read(b)
	return b
}

func always() bool { return true }

// sometimes returns what reports true seven times, and false three times.
func sometimes() func() bool {
	n := 0
	return func() bool {
		n++
		return n%10 < 7
	}
}

// TestLayerHash writes a layer in pieces, and takes its state in between. A bubble ends
// only once all of its goroutines have.
func TestLayerHash(t *testing.T) {
	cases := map[string]struct {
		reason string
		spare  func() bool
		size   int
		piece  int
	}{
		"Inline":  {reason: "A small layer should be hashed at once.", size: 300_000, piece: 32 << 10},
		"Empty":   {reason: "Nothing has a hash.", spare: always},
		"Less":    {reason: "Less than a block should be hashed when the digest is asked for.", spare: always, size: 1000, piece: 100},
		"Blocks":  {reason: "Whole blocks should be hashed in order.", spare: always, size: 20 * hashBlock, piece: hashBlock},
		"Between": {reason: "A piece may begin in one block and end in another.", spare: always, size: 20*hashBlock + 1234, piece: 50_000},
		"Changes": {reason: "Processors may get busy and idle meanwhile.", spare: sometimes(), size: 20*hashBlock + 1, piece: 50_000},
		"Large":   {reason: "A piece may be larger than all blocks.", spare: always, size: 20*hashBlock + 1, piece: 10 * hashBlock},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				content := randomBytes(tc.size)
				h := newLayerHash(tc.spare)
				defer h.close()
				for at := 0; at < len(content); at += tc.piece {
					end := min(at+tc.piece, len(content))
					_, _ = h.Write(content[at:end])
					checkState(t, h, content, end)
				}
				if got, want := h.digest(), digest.FromBytes(content); got != want {
					t.Errorf("\n%s\ndigest(): want %s, got %s", tc.reason, want, got)
				}
				h.reset()
				_, _ = h.Write(content[:tc.size/2])
				if got, want := h.digest(), digest.FromBytes(content[:tc.size/2]); got != want {
					t.Errorf("\n%s\ndigest() after reset(): want %s, got %s", tc.reason, want, got)
				}
			})
		})
	}
}

// checkState continues from the state of a hash that so many bytes were written to.
func checkState(t *testing.T, h *layerHash, content []byte, written int) {
	t.Helper()
	hashed, state := h.state()
	if hashed > int64(written) || hashed < int64(written)-(hashBlocks+1)*hashBlock {
		t.Errorf("state(): want a state of about the %d bytes that were written, got one of %d", written, hashed)
	}
	again := newLayerHash(always)
	defer again.close()
	if !again.restore(state, hashed) {
		t.Fatal("restore(...): want the state to be one")
	}
	_, _ = again.Write(content[hashed:])
	if got, want := again.digest(), digest.FromBytes(content); got != want {
		t.Errorf("want the state of %d bytes to be theirs: continued, it gives %s instead of %s", hashed, got, want)
	}
}

// TestLayerHashEnds closes a hash while its goroutine is behind, as a run does that is
// cancelled.
func TestLayerHashEnds(t *testing.T) {
	synctest.Test(t, func(*testing.T) {
		h := newLayerHash(always)
		_, _ = h.Write(bytes.Repeat([]byte("x"), 3*hashBlock/2))
		h.close()
	})
}

// BenchmarkLayerHash hashes pieces as they come from a connection, beside the hash of
// their file: inline, and aside.
func BenchmarkLayerHash(b *testing.B) {
	for name, spare := range map[string]func() bool{"Inline": nil, "Aside": always} {
		b.Run(name, func(b *testing.B) {
			piece, file := randomBytes(32<<10), newLayerHash(nil)
			h := newLayerHash(spare)
			defer h.close()
			b.SetBytes(int64(len(piece)))
			for b.Loop() {
				_, _ = file.Write(piece)
				_, _ = h.Write(piece)
			}
			h.finish()
		})
	}
}
