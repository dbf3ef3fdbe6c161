// Package decode decodes foreign JSON, such as a registry's manifests, within
// bounds that are checked before anything is allocated for it.
package decode

import (
	"encoding/json"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

const (
	// MaxBytes bounds a document. It is the size up to which every registry must
	// accept a manifest (distribution-spec 1.1, "Pushing Manifests").
	MaxBytes = 4 << 20

	// maxContainers bounds the objects and arrays of a document. A manifest has
	// two for each of its layers, which take at least 250 bytes together, so no
	// manifest of MaxBytes needs more.
	maxContainers = 40_000

	// maxValues bounds the members and elements of a document.
	maxValues = 200_000

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

// JSON decodes a document as json.Unmarshal does. It returns ErrTooLarge, and
// allocates nothing, if the document exceeds a bound.
func JSON(b []byte, into any) error {
	if err := Check(b); err != nil {
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
func Check(b []byte) error {
	if len(b) > MaxBytes {
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
		if containers > maxContainers || containers+values > maxValues || depth > maxDepth {
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
