package outcome

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"regexp"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Where a run's worker says how far it is. Whoever reaches the Pod may read it:
// there are only numbers in it, and the name of a step.
const (
	// EnvProgressAddress is the variable that names the worker the address to
	// listen on, as HOST:PORT or :PORT. Without it, the worker listens nowhere.
	// It is no flag, since an older worker would not start with one.
	EnvProgressAddress = "KITOPS_PROGRESS_ADDRESS"

	// ProgressPortName is the container port's name, by which a Pod is known
	// that can be asked.
	ProgressPortName = "progress"

	// ProgressPort is the port on the Pod's own addresses.
	ProgressPort = 9797

	// ProgressPath is what to GET there, by plain HTTP. The answer is a
	// Progress as JSON.
	ProgressPath = "/progress"

	// MaxProgressBytes is the most that an answer has.
	MaxProgressBytes = 4096
)

// stepPattern is what a step may be called: a word or two, in lower case.
var stepPattern = regexp.MustCompile(`^[a-z][a-z0-9-]{0,31}$`)

// A Progress is how far a run is.
type Progress struct {
	// Step that the run is at: a word in lower case, or empty.
	Step string `json:"step,omitempty"`

	// Percent of the run's work that is done, 0 to 100.
	Percent int32 `json:"percent"`

	// BytesDone of the step: moved, or there already.
	BytesDone int64 `json:"bytesDone,omitempty"`

	// BytesTotal of the step; 0 while that is not known.
	BytesTotal int64 `json:"bytesTotal,omitempty"`

	// BytesPerSecond is the rate at which bytes were moved in the last minute.
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty"`
}

// ParseProgress reads what a worker says, and trusts it with nothing: an answer
// is one JSON object of at most MaxProgressBytes, a step is a word, no number is
// negative, and no more is done than there is to do. Fields that are not known
// are passed over: a newer worker may have more to say.
func ParseProgress(b []byte) (Progress, error) {
	if len(b) > MaxProgressBytes {
		return Progress{}, errors.Errorf("cannot read a run's progress: it has more than %d bytes", MaxProgressBytes)
	}
	b = bytes.TrimSpace(b)
	if len(b) == 0 || b[0] != '{' {
		return Progress{}, errors.New("cannot read a run's progress: it is no JSON object")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	var p Progress
	if err := d.Decode(&p); err != nil {
		// Not with its words, which are the Pod's.
		return Progress{}, errors.New("cannot read a run's progress: it is not of the JSON that is expected")
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Progress{}, errors.New("cannot read a run's progress: something follows it")
	}
	return p.clamped(), nil
}

// clamped returns the progress with all of its parts within their bounds.
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

// longestLeft is more time than anybody waits: beyond it, none is said.
const longestLeft = 100 * 24 * time.Hour

// TimeLeft returns how long the rest of the step takes at the rate, rounded for
// people. There is no such time where nothing moves, nothing is left, or it is
// not known how much there is to do.
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
