package parallel

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestClimb has a climber choose sizes where each slot brings as much as the others, up to
// what the ends can do together.
func TestClimb(t *testing.T) {
	type want struct {
		Size int // At the end.
		Most int // At any time.
	}
	cases := map[string]struct {
		reason          string
		min, start, max int
		ends            float64 // The throughput of all slots at most, of one being 1.
		loss            float64 // The throughput that each slot too many costs.
		used            int     // As many slots are used as there is work for; 0 for all.
		intervals       int
		want            want
	}{
		"Free": {
			reason: "A limit should double as long as throughput does, and so get to its bound in some intervals.",
			min:    1, start: 4, max: 64, ends: 1000, intervals: 12, want: want{64, 64},
		},
		"Bounded": {
			reason: "A limit should return to the size before the one that brought too little.",
			min:    1, start: 4, max: 64, ends: 16, intervals: 12, want: want{16, 32},
		},
		"Never": {
			reason: "A limit should not grow where that brings nothing.",
			min:    1, start: 4, max: 64, ends: 2, intervals: 6, want: want{4, 8},
		},
		"Idle": {
			reason: "A limit should not grow where its slots are not all used.",
			min:    1, start: 8, max: 64, ends: 1000, used: 4, intervals: 100, want: want{8, 8},
		},
		"Worse": {
			reason: "A limit should return at once from a size that made all slower.",
			min:    1, start: 8, max: 64, ends: 8, loss: 0.5, intervals: 5, want: want{8, 16},
		},
		"Fixed": {
			reason: "A limit without room between its bounds should stay.",
			min:    3, start: 3, max: 3, ends: 1000, intervals: 100, want: want{3, 3},
		},
		"StartOutside": {
			reason: "A start beyond the bounds should be the nearest bound.",
			min:    1, start: 100, max: 16, ends: 1000, intervals: 10, want: want{16, 16},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c := newClimber(tc.min, tc.start, tc.max)
			got := want{Most: c.size}
			for range tc.intervals {
				used := c.size
				if tc.used > 0 {
					used = min(used, tc.used)
				}
				rate := min(float64(used), tc.ends) - tc.loss*max(0, float64(used)-tc.ends)
				c.next(rate, used == c.size)
				got.Most = max(got.Most, c.size)
			}
			got.Size = c.size
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nsize: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestClimbRarely counts the sizes that are tried in vain, where no other is better.
func TestClimbRarely(t *testing.T) {
	c := newClimber(1, 8, 64)
	tries := 0
	for range 1000 {
		if size, changed := c.next(8, true); changed && size > 8 {
			tries++
		}
	}
	// After 6, 12, 24, 48, 96 and then each 160 intervals.
	if tries < 5 || tries > 12 {
		t.Errorf("A size that is not better should be tried ever more rarely: want 5 to 12 tries in 1000 intervals, got %d", tries)
	}
}

// TestClimbBySlowInterval has an interval of a try bring nothing, by chance.
func TestClimbBySlowInterval(t *testing.T) {
	for slow := range 8 {
		c := newClimber(1, 4, 64)
		for i := range 14 {
			rate := float64(c.size)
			if i == slow {
				rate = 1
			}
			c.next(rate, true)
		}
		if c.size < 32 {
			t.Errorf("A limit should grow although interval %d was slow: want at least 32, got %d", slow, c.size)
		}
	}
}

// TestClimbAgain has the ends do more after a while.
func TestClimbAgain(t *testing.T) {
	c := newClimber(1, 4, 64)
	for range 20 {
		c.next(min(float64(c.size), 4), true)
	}
	for range 200 {
		c.next(min(float64(c.size), 32), true)
	}
	if c.size < 24 {
		t.Errorf("A limit should find out that more has become possible: want at least 24, got %d", c.size)
	}
}

// TestClimbBackOff has a server ask to be asked less.
func TestClimbBackOff(t *testing.T) {
	c := newClimber(2, 32, 64)
	var got []int
	for range 6 {
		size, _ := c.backOff()
		got = append(got, size)
	}
	if diff := cmp.Diff([]int{16, 8, 4, 2, 2, 2}, got); diff != "" {
		t.Errorf("Each time should halve the size, down to the least: -want, +got:\n%s", diff)
	}
	for range rest {
		if size, changed := c.next(100, true); changed {
			t.Fatalf("A limit that has backed off should not grow for a while, got %d", size)
		}
	}
}
