package pipeline

import (
	"fmt"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/file"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// FormatBytes returns a size for people, for example 1.5 GiB.
func FormatBytes(n int64) string { return outcome.FormatBytes(n) }

// Took returns how long something took, for people.
func Took(start time.Time) string {
	return time.Since(start).Round(100 * time.Millisecond).String()
}

// Rate returns how fast so many bytes were moved, for people; empty if it was too
// fast to tell.
func Rate(n int64, start time.Time) string {
	took := time.Since(start)
	if took < 100*time.Millisecond {
		return ""
	}
	return fmt.Sprintf(", %s/s", FormatBytes(int64(float64(n)/took.Seconds())))
}

// TotalSize returns the size of files together.
func TotalSize(files []file.File) int64 {
	var n int64
	for _, f := range files {
		n += f.Size
	}
	return n
}

// TotalBytes returns the size of blobs together.
func TotalBytes(blobs []ocispec.Descriptor) int64 {
	var n int64
	for _, b := range blobs {
		n += b.Size
	}
	return n
}
