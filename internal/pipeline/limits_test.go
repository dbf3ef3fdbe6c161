package pipeline

import (
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

func TestFits(t *testing.T) {
	const limit = 10 << 30
	cases := map[string]struct {
		reason   string
		registry string
		files    []file.File
		slack    int64
		want     []string // Words of the error; none for no error.
	}{
		"Fits":    {reason: "A file as large as the limit should be accepted.", registry: "ghcr.io", files: []file.File{{Path: "a", Size: 1}, {Path: "b", Size: limit}}},
		"Unknown": {reason: "A registry without a known limit should accept any file.", registry: "registry.example.com", files: []file.File{{Path: "a", Size: 1 << 60}}},
		"Nothing": {reason: "No files should fit any registry.", registry: "ghcr.io"},
		"TooLarge": {
			reason: "The error should name the file, the limit with its origin, and the cure.", registry: "ghcr.io",
			files: []file.File{{Path: "a.bin", Size: 1}, {Path: "big.gguf", Size: limit + 1}, {Path: "c.bin", Size: 2}},
			want:  []string{"big.gguf has 10.0 GiB", "ghcr.io takes at most 10.0 GiB a layer (https://docs.github.com/", "another registry", "smaller files"},
		},
		"Archive": {
			reason: "An archive's own bytes should count.", registry: "ghcr.io",
			files: []file.File{{Path: "big.gguf", Size: limit}}, slack: TarSlack,
			want: []string{"big.gguf"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := LayerLimit(registry.LayerLimit).Fits(Target{Registry: tc.registry}, tc.files, tc.slack)
			if (err != nil) != (len(tc.want) > 0) || err != nil && outcome.ReasonOf(err) != outcome.Unsupported {
				t.Fatalf("\n%s\nfits(...): want an error %t, got %v", tc.reason, len(tc.want) > 0, err)
			}
			for _, words := range tc.want {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("\n%s\nfits(...): want %q in %q", tc.reason, words, err)
				}
			}
		})
	}
}
