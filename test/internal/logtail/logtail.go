// Package logtail reads the end of log files, for error messages.
package logtail

import (
	"io"
	"os"
	"strings"
)

// Lines is how many lines of a program's log an error shows.
const Lines = 20

// maxBytes is the most that File returns.
const maxBytes = 16 << 10

// File is the last n lines of a log file, or why it cannot be read.
func File(path string, n int) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > maxBytes {
		// What follows reads from the start, if this fails.
		_, _ = f.Seek(-maxBytes, io.SeekEnd) // See above.
	}
	data, err := io.ReadAll(io.LimitReader(f, maxBytes))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimRight(string(data), "\n"), "\n")
	if len(lines) > n {
		lines = lines[len(lines)-n:]
	}
	return strings.Join(lines, "\n")
}
