// Package decode decodes foreign JSON, such as a registry's manifests, within
// bounds that are checked before anything is allocated for it.
package decode

import (
	"encoding/json"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// MaxBytes bounds a document by default. It is the size up to which every registry
// must accept a manifest (distribution-spec 1.1, "Pushing Manifests").
const MaxBytes = 4 << 20

// Limits are the bounds of a document.
type Limits struct {
	// Bytes of the document.
	Bytes int

	// Containers are its objects and arrays, and Values those and the members and
	// elements in them.
	Containers, Values int
}

// manifest limits what JSON decodes. A manifest has two containers for each of its
// layers, which take at least 250 bytes together, so no manifest of MaxBytes needs
// more.
var manifest = Limits{Bytes: MaxBytes, Containers: 40_000, Values: 200_000}

const (
	// maxDepth bounds how deep objects and arrays are nested.
	maxDepth = 64

	// largeBytes is the size at which documents are decoded one at a time.
	largeBytes = 64 << 10
)

// ErrTooLarge is returned for a document that exceeds a bound.
var ErrTooLarge = errors.New("the JSON document is too large, or has too many or too deeply nested values")

// large is held while a large document is decoded, so that the memory for
// decoding does not grow with the number of concurrent callers.
var large sync.Mutex

// JSON decodes a document, of the size of a manifest at most, as json.Unmarshal does.
// It returns ErrTooLarge, and allocates nothing, if the document exceeds a bound.
func JSON(b []byte, into any) error { return manifest.JSON(b, into) }

// JSON decodes a document within these limits as json.Unmarshal does. It returns
// ErrTooLarge, and allocates nothing, if the document exceeds a bound.
func (l Limits) JSON(b []byte, into any) error {
	if err := l.check(b); err != nil {
		return err
	}
	if len(b) >= largeBytes {
		large.Lock()
		defer large.Unlock()
	}
	return json.Unmarshal(b, into)
}

// Check returns ErrTooLarge if a document exceeds a bound. It does not check that
// the document is valid JSON, but no decoder that accepts the document finds more
// values in it.
func Check(b []byte) error { return manifest.check(b) }

// check is Check within these limits.
func (l Limits) check(b []byte) error {
	if len(b) > l.Bytes {
		return ErrTooLarge
	}
	containers, values, depth := 0, 0, 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			i = endOfString(b, i)
		case '{', '[':
			containers++
			depth++
		case '}', ']':
			depth--
		case ',':
			values++
		}
		if containers > l.Containers || containers+values > l.Values || depth > maxDepth {
			return ErrTooLarge
		}
	}
	return nil
}

// endOfString returns the index of the quote that ends the string beginning at i
// (RFC 8259, section 7).
func endOfString(b []byte, i int) int {
	for i++; i < len(b) && b[i] != '"'; i++ {
		if b[i] == '\\' {
			i++
		}
	}
	return i
}
