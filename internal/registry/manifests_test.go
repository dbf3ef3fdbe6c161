package registry

import (
	"strings"
	"testing"
	"time"
)

func TestManifestTimeout(t *testing.T) {
	cases := map[string]struct {
		reason      string
		layers      int
		least, most time.Duration
	}{
		"Small": {reason: "A few layers are looked for at once.", layers: 3, least: askTimeout, most: 2 * askTimeout},
		"Many":  {reason: "Thousands of layers on S3 take minutes.", layers: 4000, least: 10 * time.Minute, most: 20 * time.Minute},
		"Most":  {reason: "There is an end.", layers: 100_000, least: longestManifest, most: longestManifest},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := manifestTimeout([]byte(`{"layers":[` + strings.Repeat(`{"digest":"sha256:0"},`, tc.layers) + `]}`))
			if got < tc.least || got > tc.most {
				t.Errorf("\n%s\nmanifestTimeout(...): want %s to %s, got %s", tc.reason, tc.least, tc.most, got)
			}
		})
	}
}
