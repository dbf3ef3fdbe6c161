package outcome

import (
	"fmt"
	"strings"
	"time"
)

// FormatBytes returns a size for people, for example 1.5 GiB.
func FormatBytes(n int64) string {
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

// FormatDuration returns a time for people: 5m rather than 5m0s, and 2h than 2h0m0s.
func FormatDuration(d time.Duration) string {
	s := d.String()
	for _, zero := range []string{"m0s", "h0m"} {
		if strings.HasSuffix(s, zero) {
			s = s[:len(s)-2]
		}
	}
	return s
}

// String returns the progress of a step for people:
//
//	copy: 12.3 GiB of 40.1 GiB (30 %), 85.0 MiB/s, 5m30s left
func (p Progress) String() string {
	b := &strings.Builder{}
	if p.Step != "" {
		_, _ = fmt.Fprintf(b, "%s: ", p.Step)
	}
	b.WriteString(FormatBytes(p.BytesDone))
	if p.BytesTotal > 0 {
		_, _ = fmt.Fprintf(b, " of %s (%d %%)", FormatBytes(p.BytesTotal), int(100*float64(p.BytesDone)/float64(p.BytesTotal)))
	}
	if p.BytesPerSecond > 0 {
		_, _ = fmt.Fprintf(b, ", %s/s", FormatBytes(p.BytesPerSecond))
	}
	if left, ok := p.TimeLeft(); ok {
		_, _ = fmt.Fprintf(b, ", %s left", FormatDuration(left))
	}
	return b.String()
}
