package pipeline

import (
	"fmt"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
)

// formatBytes returns a size for people, for example 1.5 GiB.
func formatBytes(n int64) string {
	const unit = 1024
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	div, exp := int64(unit), 0
	for m := n / unit; m >= unit && exp < 4; m /= unit {
		div *= unit
		exp++
	}
	return fmt.Sprintf("%.1f %ciB", float64(n)/float64(div), "KMGTP"[exp])
}

// inSeconds is how long something took, for people.
func inSeconds(start time.Time) string {
	return time.Since(start).Round(100 * time.Millisecond).String()
}

// atRate is how fast so many bytes went, for people; empty where it was too
// fast to tell.
func atRate(n int64, start time.Time) string {
	took := time.Since(start)
	if took < 100*time.Millisecond {
		return ""
	}
	return fmt.Sprintf(", %s/s", formatBytes(int64(float64(n)/took.Seconds())))
}

// totalSize is what files have together, in bytes.
func totalSize(files []hub.File) int64 {
	var n int64
	for _, f := range files {
		n += f.Size
	}
	return n
}
