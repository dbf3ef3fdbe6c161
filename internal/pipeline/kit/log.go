package kit

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

const (
	// maxLine limits a line of kit's output, in bytes.
	maxLine = 4096

	// maxLines is how many of the last lines of a command's output are kept.
	maxLines = 40
)

// signedQuery is the query of a URL, in which CDNs and object stores put
// signatures.
var signedQuery = regexp.MustCompile(`(https?://[^\s"'?]+)\?[^\s"']+`)

// A runLog is a run's log, without secrets. It is safe for concurrent use.
type runLog struct {
	mu   sync.Mutex
	w    io.Writer
	mask pipeline.Mask
}

func newRunLog(w io.Writer, secrets []string) *runLog {
	if w == nil {
		w = io.Discard
	}
	return &runLog{w: w, mask: pipeline.NewMask(secrets)}
}

// clean removes secrets from a text.
func (l *runLog) clean(s string) string {
	return outcome.WithoutUserinfo(signedQuery.ReplaceAllString(l.mask.Replace(s), "$1?"+pipeline.Redacted))
}

func (l *runLog) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// An error of the log itself cannot be reported.
	_, _ = fmt.Fprintln(l.w, l.clean(fmt.Sprintf(format, args...)))
}

// An outputLines is one output of a command: it logs each line as it comes, and keeps
// the last ones.
type outputLines struct {
	log  *runLog
	rest []byte
	last []string
}

// Write implements io.Writer. It never fails.
func (l *outputLines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		if room := maxLine - len(l.rest); len(line) > room {
			line = line[:room]
		}
		l.rest = append(l.rest, line...)
		if !ended {
			return n, nil
		}
		l.end()
		b = rest
	}
}

// end ends the current line.
func (l *outputLines) end() {
	text := l.log.clean(string(l.rest))
	if len(l.rest) == maxLine {
		text = l.log.mask.Trim(text)
	}
	line := strings.TrimRight(text, "\r ")
	l.rest = l.rest[:0]
	if line == "" {
		return
	}
	l.log.printf("  %s", line)
	if len(l.last) == maxLines {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, line)
}
