package line

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// TestShapedBytes counts what arrives of connections that always have more to send, with
// the bubble's clock.
func TestShapedBytes(t *testing.T) {
	const rate = 10 << 20
	cases := map[string]struct {
		reason      string
		shared, own int64
		delay       time.Duration
		connections int
		after       time.Duration
		want        int64
	}{
		"Own": {
			reason: "Connections should have their rate each, however many there are.",
			own:    rate, connections: 5, after: 3 * time.Second, want: 5 * 3 * rate,
		},
		"Shared": {
			reason: "Connections should share the line's rate.",
			shared: rate, connections: 5, after: 3 * time.Second, want: 3 * rate,
		},
		"Both": {
			reason: "Two connections of a rate should not fill a line of four times that rate.",
			shared: 4 * rate, own: rate, connections: 2, after: 3 * time.Second, want: 2 * 3 * rate,
		},
		"BothFull": {
			reason: "Eight connections should fill a line of four times the rate of each, and no more.",
			shared: 4 * rate, own: rate, connections: 8, after: 3 * time.Second, want: 4 * 3 * rate,
		},
		"Delay": {
			reason: "Bytes should arrive later by the delay, at the same rate, as long as they fit into the window.",
			own:    rate, delay: 200 * time.Millisecond, connections: 2, after: 1200 * time.Millisecond, want: 2 * rate,
		},
		"Window": {
			reason: "A connection should have no more on its way than its window.",
			delay:  time.Second, connections: 3, after: 3500 * time.Millisecond, want: 3 * 3 * window,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				shared := &pace{rate: tc.shared}
				var count atomic.Int64
				var all sync.WaitGroup
				var ends []net.Conn
				for range tc.connections {
					client, from := net.Pipe()
					to, server := net.Pipe()
					ends = append(ends, client, from, to, server)
					all.Go(func() { _, _ = io.Copy(client, endless{}) })
					all.Go(func() { _, _ = io.Copy(io.Discard, server) })
					d := direction{shared: shared, own: &pace{rate: tc.own}, delay: tc.delay}
					all.Go(func() { pass(to, from, d, time.Now(), &count) })
				}
				time.Sleep(tc.after)
				got := count.Load()
				for _, c := range ends {
					_ = c.Close()
				}
				all.Wait()
				// What is made up for, and the last parcel of each connection.
				most := int64(slack.Seconds()*float64(max(tc.shared, tc.own*int64(tc.connections)))) + int64(tc.connections)*parcelSize
				if got < tc.want-most || got > tc.want+most {
					t.Errorf("\n%s\npass(...): want %d bytes, up to %d more or less, got %d", tc.reason, tc.want, most, got)
				}
			})
		})
	}
}

// endless is what always has more bytes.
type endless struct{}

func (endless) Read(b []byte) (int, error) { return len(b), nil }
