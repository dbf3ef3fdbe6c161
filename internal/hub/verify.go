package hub

import (
	"crypto/sha1" //nolint:gosec // Git's own hash of its blobs.
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// A Verifier takes a file's bytes and reports whether they are those that the Hub
// announced.
type Verifier struct {
	file   File
	size   int64
	sha256 hash.Hash
	git    hash.Hash
}

var _ io.Writer = &Verifier{}

// NewVerifier returns a Verifier for the file's bytes.
func (f File) NewVerifier() *Verifier {
	v := &Verifier{file: f, sha256: sha256.New()}
	if f.SHA256 == "" {
		// Git hashes a blob with its type and size before it
		// (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).
		v.git = sha1.New() //nolint:gosec // As above.
		_, _ = fmt.Fprintf(v.git, "blob %d\x00", f.Size)
	}
	return v
}

// Write takes bytes. It never fails.
func (v *Verifier) Write(p []byte) (int, error) {
	v.size += int64(len(p))
	_, _ = v.sha256.Write(p)
	if v.git != nil {
		_, _ = v.git.Write(p)
	}
	return len(p), nil
}

// Size returns how many bytes were written so far.
func (v *Verifier) Size() int64 { return v.size }

// SHA256 returns the SHA-256 of what was written so far, in hex.
func (v *Verifier) SHA256() string { return hex.EncodeToString(v.sha256.Sum(nil)) }

// Verify returns an outcome.Error with reason Mismatch unless what was written
// has the size and the hash that the Hub announced.
func (v *Verifier) Verify() error {
	if v.size != v.file.Size {
		return outcome.Errorf(outcome.Mismatch,
			"file %q came with %d bytes, but %d were announced: a proxy, mirror or CDN may serve wrong content", v.file.Path, v.size, v.file.Size)
	}
	got, want := v.SHA256(), v.file.SHA256
	if v.git != nil {
		got, want = hex.EncodeToString(v.git.Sum(nil)), v.file.GitSHA1
	}
	if got != want {
		return outcome.Errorf(outcome.Mismatch,
			"file %q is not what was announced: its hash is %s, not %s: a proxy, mirror or CDN may serve wrong content", v.file.Path, got, want)
	}
	return nil
}
