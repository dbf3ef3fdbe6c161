package file

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
		"All": {
			reason:  "What announces several hashes is held against each of them.",
			file:    File{Path: "a", Size: 9, MD5: "25f9e794323b453885f5181f1b624d0b", CRC32C: "e3069283", CRC64NVME: "ae8b14860a799888"},
			content: "123456789",
		},
		"ChangedMD5": {
			reason:  "The hash of an object in a bucket counts.",
			file:    File{Path: "a", Size: 9, MD5: "25f9e794323b453885f5181f1b624d0b"},
			content: "123456780",
			want:    outcome.Mismatch,
		},
		"ChangedCRC32C": {
			reason:  "So does the checksum that Google Cloud Storage has of each object.",
			file:    File{Path: "a", Size: 9, CRC32C: "e3069283"},
			content: "123456780",
			want:    outcome.Mismatch,
		},
		"ChangedCRC64NVME": {
			reason:  "And the one that S3 has.",
			file:    File{Path: "a", Size: 9, MD5: "25f9e794323b453885f5181f1b624d0b", CRC64NVME: "ae8b14860a799889"},
			content: "123456789",
			want:    outcome.Mismatch,
		},
		"None": {
			reason:  "A source that tells no hash is held to the size.",
			file:    File{Path: "a", Size: 5, Version: "etag:x"},
			content: "hello",
		},
		"ShortOfNone": {
			reason:  "Which is not less because of that.",
			file:    File{Path: "a", Size: 6, Version: "etag:x"},
			content: "hello",
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

// reasonOf returns the reason of an error; "" for none.
func reasonOf(err error) outcome.Reason {
	if err == nil {
		return ""
	}
	return outcome.ReasonOf(err)
}
