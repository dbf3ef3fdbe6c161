package download

import (
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestBudget(t *testing.T) {
	type want struct {
		Blocks int
		Peak   int64
	}
	cases := map[string]struct {
		reason string
		bytes  int64
		want   want
	}{
		"None":     {reason: "No memory is none."},
		"Negative": {reason: "Less is none, too.", bytes: -1},
		"Part":     {reason: "A part of a block is none.", bytes: blockSize - 1},
		"One":      {reason: "A block is a block.", bytes: blockSize, want: want{Blocks: 1, Peak: blockSize}},
		"Rounded":  {reason: "There are whole blocks.", bytes: 3*blockSize + 1, want: want{Blocks: 3, Peak: 3 * blockSize}},
	}
	over := make(chan struct{})
	close(over)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			b := NewBudget(tc.bytes)
			s := b.join()
			var blocks [][]byte
			for range tc.want.Blocks {
				blocks = append(blocks, s.get(nil, nil))
			}
			if s.get(over, nil) != nil || s.get(nil, over) != nil {
				t.Errorf("\n%s\nwant nothing for who needs nothing", tc.reason)
			}
			if diff := cmp.Diff(tc.want, want{Blocks: int(b.Used() / blockSize), Peak: b.Peak()}); diff != "" {
				t.Errorf("\n%s\nNewBudget(%d): -want, +got:\n%s", tc.reason, tc.bytes, diff)
			}
			for _, block := range blocks {
				s.put(block[:1])
			}
			if b.Used() != 0 || b.Peak() != tc.want.Peak {
				t.Errorf("\n%s\nwant all to be given back, got %d", tc.reason, b.Used())
			}
		})
	}
}

func TestBudgetReusesMemory(t *testing.T) {
	b := NewBudget(4 * blockSize)
	var group sync.WaitGroup
	for range 16 {
		group.Go(func() {
			s := b.join()
			defer s.leave()
			for range 1000 {
				block := s.get(nil, nil)
				if len(block) != blockSize {
					t.Errorf("want a whole block, got %d bytes", len(block))
				}
				s.put(block)
			}
		})
	}
	group.Wait()
	if len(b.free) > 4 || b.Used() != 0 || b.Peak() > 4*blockSize || b.users != 0 {
		t.Errorf("want at most four blocks, got %d", len(b.free))
	}
}

// Who was first does not keep the others from their share.
func TestBudgetShares(t *testing.T) {
	b := NewBudget(8 * blockSize)
	first, second := b.join(), b.join()
	var blocks [][]byte
	for range 4 {
		blocks = append(blocks, first.get(nil, nil))
	}
	if block, _ := first.try(); block != nil {
		t.Error("want no more than half for one of two")
	}
	got := make(chan []byte)
	go func() { got <- first.get(nil, nil) }()
	second.leave()
	second.leave()
	blocks = append(blocks, <-got)
	for range 3 {
		blocks = append(blocks, first.get(nil, nil))
	}
	// One who comes later waits for what is given back.
	third := b.join()
	go func() { got <- third.get(nil, nil) }()
	first.put(blocks[0])
	third.put(<-got)
	if block, _ := first.try(); block != nil {
		t.Error("want no more before there is less than a share")
	}
	for _, block := range blocks[1:] {
		first.put(block)
	}
	if b.Used() != 0 || b.Peak() != 8*blockSize {
		t.Errorf("want all to be given back, got %d of %d", b.Used(), b.Peak())
	}
}
