package outcome

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"regexp"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// How a worker serves the progress of its run. Anyone who reaches the Pod may read
// it, since it holds nothing but numbers and the name of a step.
const (
	// EnvProgressAddress is the variable with the address on which the worker
	// listens, as HOST:PORT or :PORT. Without it, the worker does not listen. It
	// is not a flag, with which an older worker would not start.
	EnvProgressAddress = "KITOPS_PROGRESS_ADDRESS"

	// ProgressPortName is the name of the container port. A Pod with such a port
	// serves its progress.
	ProgressPortName = "progress"

	// ProgressPort is the port of the Pod.
	ProgressPort = 9797

	// ProgressPath is the path of the progress, which is served by plain HTTP as
	// a Progress in JSON.
	ProgressPath = "/progress"

	// MaxProgressBytes bounds a response.
	MaxProgressBytes = 4096
)

// stepPattern matches the name of a step: a word or two, in lower case.
var stepPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// A Progress is the progress of a run.
type Progress struct {
	// Step of the run: a word in lower case, or empty.
	Step string `json:"step,omitempty"`

	// Percent of the run's work that is done, 0 to 100.
	Percent int32 `json:"percent"`

	// BytesDone of the step: transferred, or already present.
	BytesDone int64 `json:"bytesDone,omitempty"`

	// BytesTotal of the step; 0 if it is not known yet.
	BytesTotal int64 `json:"bytesTotal,omitempty"`

	// BytesPerSecond is the rate of transfers in the last minute.
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
}

// ParseProgress parses a worker's response without trusting it: the response must
// be one JSON object of at most MaxProgressBytes. A step that is not a word is dropped,
// and numbers are clamped so that none is negative and no more is done than the
// total. Unknown fields, as of a newer worker, are ignored.
func ParseProgress(b []byte) (Progress, error) {
	if len(b) > MaxProgressBytes {
		return Progress{}, errors.Errorf("cannot read a run's progress: it has more than %d bytes", MaxProgressBytes)
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '{' {
		return Progress{}, errors.New("cannot read a run's progress: it is not a JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var p Progress
	if err := d.Decode(&p); err != nil {
		// The decoder's error could quote the Pod.
		return Progress{}, errors.New("cannot read a run's progress: its JSON does not have the expected fields")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Progress{}, errors.New("cannot read a run's progress: more data follows it")
	}
	return p.clamped(), nil
}

// clamped returns the progress with all fields within their bounds.
func (p Progress) clamped() Progress {
	if !stepPattern.MatchString(p.Step) {
		p.Step = ""
	}
	p.Percent = min(max(p.Percent, 0), 100)
	p.BytesTotal = max(p.BytesTotal, 0)
	p.BytesDone = max(p.BytesDone, 0)
	if p.BytesTotal > 0 {
		p.BytesDone = min(p.BytesDone, p.BytesTotal)
	}
	p.BytesPerSecond = max(p.BytesPerSecond, 0)
	return p
}

// longestLeft bounds TimeLeft: beyond it, no estimate is useful.
const longestLeft = 100 * 24 * time.Hour

// TimeLeft estimates how long the rest of the step takes at the current rate,
// rounded for people. It reports false if the rate is zero, nothing is left, or the
// total is not known.
func (p Progress) TimeLeft() (time.Duration, bool) {
	left := p.BytesTotal - p.BytesDone
	if p.BytesTotal <= 0 || left <= 0 || p.BytesPerSecond <= 0 {
		return 0, false
	}
	seconds := math.Ceil(float64(left) / float64(p.BytesPerSecond))
	if seconds > longestLeft.Seconds() {
		return 0, false
	}
	d := time.Duration(seconds) * time.Second
	switch {
	case d >= time.Hour:
		return d.Round(time.Minute), true
	case d >= time.Minute:
		return d.Round(10 * time.Second), true
	}
	return d, true
}
