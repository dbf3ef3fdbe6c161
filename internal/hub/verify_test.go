package hub

import (
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestVerifier(t *testing.T) {
	cases := map[string]struct {
		reason  string
		file    File
		content string
		want    outcome.Reason
	}{
		"SHA256": {
			reason:  "An LFS file is held against its SHA-256.",
			file:    File{Path: "a", Size: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
			content: "hello",
		},
		"Git": {
			reason:  "Any other is held against git's name of it.",
			file:    File{Path: "a", Size: 5, GitSHA1: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"},
			content: "hello",
		},
		"EmptyGit": {
			reason: "An empty file has a hash as well.",
			file:   File{Path: "a", GitSHA1: "e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"},
		},
		"Changed": {
			reason:  "One other byte is another file.",
			file:    File{Path: "a", Size: 5, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
			content: "hellO",
			want:    outcome.Mismatch,
		},
		"ChangedGit": {
			reason:  "Here too.",
			file:    File{Path: "a", Size: 5, GitSHA1: "b6fc4c620b67d95f953a5c1c1230aaab5db5a1b0"},
			content: "hellO",
			want:    outcome.Mismatch,
		},
		"Short": {
			reason:  "Too few bytes are not the file.",
			file:    File{Path: "a", Size: 6, SHA256: "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"},
			content: "hello",
			want:    outcome.Mismatch,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			v := tc.file.NewVerifier()
			_, _ = io.WriteString(v, tc.content)
			if diff := cmp.Diff(tc.want, reasonOf(v.Verify())); diff != "" {
				t.Errorf("\n%s\nVerify(): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
