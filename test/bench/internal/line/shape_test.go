package line

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPass(t *testing.T) {
	type coming struct {
		after time.Duration // Since the start.
		bytes int
	}
	cases := map[string]struct {
		reason string
		rate   int64
		coming []coming
		want   []time.Duration // When each has left, since the start.
	}{
		"NoRate": {
			reason: "Without a rate, bytes should leave when they come.",
			coming: []coming{{0, 1 << 30}, {time.Second, 1}},
			want:   []time.Duration{0, time.Second},
		},
		"OneAfterTheOther": {
			reason: "What comes at once should leave in its order at the rate, less the slack.",
			rate:   1000,
			coming: []coming{{0, 1000}, {0, 500}, {0, 0}},
			want:   []time.Duration{time.Second - slack, 1500*time.Millisecond - slack, 1500*time.Millisecond - slack},
		},
		"LateWakers": {
			reason: "Who comes later than the line was free, but within the slack, should lose nothing of the rate.",
			rate:   1000,
			coming: []coming{{0, 1000}, {time.Second - slack/2, 1000}},
			want:   []time.Duration{time.Second - slack, 2*time.Second - slack},
		},
		"Idle": {
			reason: "An idle line should not save up more than the slack.",
			rate:   1000,
			coming: []coming{{0, 100}, {time.Minute, 1000}},
			want:   []time.Duration{100*time.Millisecond - slack, time.Minute + time.Second - slack},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			start := time.Unix(1_000_000, 0)
			d := &pace{rate: tc.rate}
			var got []time.Duration
			for _, c := range tc.coming {
				got = append(got, d.pass(start.Add(c.after), c.bytes).Sub(start))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\npass(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOwnTime(t *testing.T) {
	// 400 Mbit/s are 50 MB/s.
	if diff := cmp.Diff(20*time.Second+40*time.Millisecond, OwnTime(1_000_000_000, 50_000_000, 20*time.Millisecond)); diff != "" {
		t.Errorf("\nA line should take the bytes' time at its rate and a round trip.\nownTime(...): -want, +got:\n%s", diff)
	}
}
