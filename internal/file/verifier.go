package file

import (
	"crypto/md5"  //nolint:gosec // What object stores have of an object.
	"crypto/sha1" //nolint:gosec // Git's own hash of its blobs.
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"hash/crc32"
	"io"

	"github.com/minio/crc64nvme"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// castagnoli is the polynomial of CRC-32C (RFC 3720, appendix B.4).
var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// A Verifier takes a file's bytes and reports whether they are those that the source
// announced.
type Verifier struct {
	file   File
	size   int64
	sha256 hash.Hash
	others []check
}

// A check is a hash of a file beside its SHA-256, and what it must be.
type check struct {
	hash.Hash

	want  string
	other string // Who else may be wrong; empty for nobody.
}

var _ io.Writer = &Verifier{}

// NewVerifier returns a Verifier for the file's bytes. It holds them against their size
// and all hashes that the source announced, or the SHA-256 alone if that is one of them.
func (f File) NewVerifier() *Verifier {
	v := &Verifier{file: f, sha256: sha256.New()}
	if f.SHA256 != "" {
		return v
	}
	for _, c := range []struct {
		want  string
		hash  func() hash.Hash
		other string
	}{
		{want: f.GitSHA1, hash: f.gitSHA1},
		{want: f.MD5, hash: md5.New, other: ", or who uploaded it announced the hash of other bytes"},
		{want: f.CRC32C, hash: func() hash.Hash { return crc32.New(castagnoli) }},
		// Of the NVM Command Set Specification, section 5.2.1.3.4. hash/crc64 takes as long
		// for it as SHA-256 takes.
		{want: f.CRC64NVME, hash: func() hash.Hash { return crc64nvme.New() }},
	} {
		if c.want != "" {
			v.others = append(v.others, check{Hash: c.hash(), want: c.want, other: c.other})
		}
	}
	return v
}

// gitSHA1 returns git's hash of a blob, before the bytes of the blob. Git hashes its type
// and size before it (https://git-scm.com/book/en/v2/Git-Internals-Git-Objects).
func (f File) gitSHA1() hash.Hash {
	h := sha1.New() //nolint:gosec // As above.
	_, _ = fmt.Fprintf(h, "blob %d\x00", f.Size)
	return h
}

// Write takes bytes. It never fails.
func (v *Verifier) Write(p []byte) (int, error) {
	v.size += int64(len(p))
	_, _ = v.sha256.Write(p)
	for _, c := range v.others {
		_, _ = c.Write(p)
	}
	return len(p), nil
}

// Size returns how many bytes were written so far.
func (v *Verifier) Size() int64 { return v.size }

// SHA256 returns the SHA-256 of what was written so far, in hex.
func (v *Verifier) SHA256() string { return hex.EncodeToString(v.sha256.Sum(nil)) }

// Verify returns an outcome.Error with reason Mismatch unless what was written
// has the size and the hashes that the source announced.
func (v *Verifier) Verify() error {
	if v.size != v.file.Size {
		return outcome.Errorf(outcome.Mismatch,
			"file %q came with %d bytes, but %d were announced: a proxy, mirror or CDN may serve wrong content", v.file.Path, v.size, v.file.Size)
	}
	if want := v.file.SHA256; want != "" && v.SHA256() != want {
		return v.mismatch(v.SHA256(), want, "")
	}
	for _, c := range v.others {
		if got := hex.EncodeToString(c.Sum(nil)); got != c.want {
			return v.mismatch(got, c.want, c.other)
		}
	}
	return nil
}

func (v *Verifier) mismatch(got, want, other string) error {
	return outcome.Errorf(outcome.Mismatch,
		"file %q is not what was announced: its hash is %s, not %s: a proxy, mirror or CDN may serve wrong content%s", v.file.Path, got, want, other)
}
