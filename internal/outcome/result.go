package outcome

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

// Contract is the version of the contract between the controller and a worker: the
// worker's arguments, its result and the names that it uses in the registry. A
// worker refuses a run of another version.
const Contract = 5

// EnvMountFrom is the worker's variable with the artifacts in the target's registry that
// may have the same blobs, one in each line.
const EnvMountFrom = "KITOPS_MOUNT_FROM"

// MaxMessageBytes bounds the result in the termination message that a worker writes. The
// kubelet keeps 4,096 bytes per container and 12,288 per Pod, of which it gives each
// container the same share
// (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
// The end of the log follows the result, so that nothing but its own end is cut off.
const MaxMessageBytes = 2048

// maxTextBytes bounds a failure's message, so that a result fits into
// MaxMessageBytes with all escapes of JSON.
const maxTextBytes = 600

const (
	// maxWordBytes bounds a revision.
	maxWordBytes = 128

	// maxLicenseBytes bounds the expression of a model's licences
	// (license.MaxBytes).
	maxLicenseBytes = 256
)

// reasonPattern matches a reason: one word.
var reasonPattern = regexp.MustCompile(`^[A-Z][A-Za-z]{0,63}$`)

// query matches the query of a URL in a text.
var query = regexp.MustCompile(`(https?://[^\s"?]+)\?[^\s"]*`)

// digestPattern does not require all 64 digits: the registry, which is asked for
// the digest, refuses an incomplete one.
var digestPattern = regexp.MustCompile(`^sha256:[a-f0-9]{1,64}$`)

// A Result is what a worker reports when its run has succeeded or failed.
type Result struct {
	// Digest of the staged manifest, as sha256:…; empty if the run failed, or was a share.
	Digest string `json:"digest,omitempty"`

	// Size of the artifact in bytes: its manifest's layers and config.
	Size int64 `json:"size,omitempty"`

	// Files is the number of the model's files in the artifact.
	Files int `json:"files,omitempty"`

	// Revision is the commit that the model was read at, 40 hex digits.
	Revision string `json:"revision,omitempty"`

	// CommitTime is when that commit was made, in RFC 3339; empty if it is not known.
	CommitTime string `json:"commitTime,omitempty"`

	// License is the SPDX expression of the licences that the source names, for
	// example Apache-2.0.
	License string `json:"license,omitempty"`

	// FileList is the digest of the list of the files (package filelist), which the
	// run has pushed beside the staged manifest; empty if there is none.
	FileList string `json:"fileList,omitempty"`

	// Scan is what the Hub's security scan says, in one word, for example clean;
	// empty if no policy asks for it.
	Scan string `json:"scan,omitempty"`

	// Share is what the run has transferred as one of several Pods, which stage nothing; nil
	// for a run that stages its artifact.
	Share *Share `json:"share,omitempty"`

	// Failure tells why the run failed; nil if it succeeded.
	Failure *Failure `json:"failure,omitempty"`
}

// A Share is the share of a run's layers that one Pod of several has transferred.
type Share struct {
	// Index of the share, from 0, and Of how many there are.
	Index int `json:"index"`
	Of    int `json:"of"`

	// Layers of the share, and their Bytes.
	Layers int   `json:"layers,omitempty"`
	Bytes  int64 `json:"bytes,omitempty"`

	// Part is the digest of the share's part of the checkpoint, as sha256:…; empty if it
	// has left none.
	Part string `json:"part,omitempty"`
}

// valid reports whether there may be such a share.
func (s *Share) valid() bool {
	return s.Of >= 1 && s.Of <= MaxShares && s.Index >= 0 && s.Index < s.Of && s.Layers >= 0 && s.Bytes >= 0
}

// FormatTime returns a time as CommitTime has it; empty for the zero time.
func FormatTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// commitTime returns a time as FormatTime does; empty if it is none.
func commitTime(s string) string {
	t, err := time.Parse(time.RFC3339, s)
	// Other years have no form in JSON (RFC 3339, section 1).
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 {
		return ""
	}
	return FormatTime(t)
}

// A Failure tells why a run failed.
type Failure struct {
	// Reason of the failure.
	Reason Reason `json:"reason"`

	// Message in one line that names the cause and the cure.
	Message string `json:"message"`

	// RetryAfterSeconds is how long a server asked to wait.
	RetryAfterSeconds int64 `json:"retryAfterSeconds,omitempty"`

	// LogTail has the last lines of the run's log, each bounded and without control
	// characters. What they say is not trusted: they may repeat what a server sent.
	LogTail []string `json:"-"`
}

// Failed returns the result of a run that ended with err.
func Failed(err error) Result {
	f := &Failure{Reason: ReasonOf(err), Message: truncate(singleLine(unsigned(err)), maxTextBytes)}
	f.RetryAfterSeconds = int64(math.Ceil(RetryAfterOf(err).Seconds()))
	return Result{Failure: f}
}

// Write writes the result to the file at path, from which the kubelet reads the
// container's termination message: the result as JSON in one line, and after it as many
// of the last lines of a failed run's log as there is room for.
func (r Result) Write(path string) error {
	r.Revision, r.License, r.Scan = word(r.Revision), truncate(singleLine(r.License), maxLicenseBytes), word(r.Scan)
	out := &bytes.Buffer{}
	encoder := json.NewEncoder(out)
	// An escaped bracket takes six bytes, and error pages are full of them.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return errors.Wrap(err, "cannot encode the run's result")
	}
	if out.Len() > MaxMessageBytes {
		return errors.Errorf("the run's result has %d bytes, more than %d", out.Len(), MaxMessageBytes)
	}
	if r.Failure != nil {
		for _, line := range fitting(tailOf(r.Failure.LogTail), maxTailBytes-out.Len()) {
			out.WriteString(line + "\n")
		}
	}

	return errors.Wrap(os.WriteFile(path, out.Bytes(), 0o644), "cannot write the run's result")
}

// word returns a foreign word as one bounded line.
func word(s string) string { return truncate(singleLine(s), maxWordBytes) }

// unsigned returns the error's text without the queries of URLs, which may contain
// signatures.
func unsigned(err error) string { return query.ReplaceAllString(err.Error(), "$1") }

// Parse parses a termination message: a Result, which the end of a failed run's log may
// follow, or a bare sha256:… digest, as other tools write it. It reports whether the message is either.
func Parse(message string) (Result, bool) {
	message = strings.TrimSpace(message)
	if digestPattern.MatchString(message) {
		return Result{Digest: message}, true
	}
	r, tail, ok := decodeFirst(message)
	if !ok {
		return Result{}, false
	}
	r.Revision, r.License, r.Scan = word(r.Revision), truncate(singleLine(r.License), maxLicenseBytes), word(r.Scan)
	r.CommitTime = commitTime(r.CommitTime)
	if !digestPattern.MatchString(r.FileList) {
		r.FileList = ""
	}
	hasDigest := digestPattern.MatchString(r.Digest)
	if !hasDigest {
		r.Digest = ""
	}
	if r.Share != nil && (hasDigest || !r.Share.valid()) {
		r.Share = nil
	}
	if r.Share != nil && !digestPattern.MatchString(r.Share.Part) {
		r.Share.Part = ""
	}
	if r.Failure != nil {
		r.Failure.Message = truncate(singleLine(r.Failure.Message), maxTextBytes)
		r.Failure.LogTail = parseTail(tail)
		return r, reasonPattern.MatchString(string(r.Failure.Reason))
	}
	return r, hasDigest || r.Share != nil
}

// decodeFirst returns the result that a message begins with, and the lines after it. It
// reports whether there is one.
func decodeFirst(message string) (r Result, rest string, ok bool) {
	decoder := json.NewDecoder(strings.NewReader(message))
	if err := decoder.Decode(&r); err != nil {
		return Result{}, "", false
	}
	rest = message[decoder.InputOffset():]
	return r, rest, rest == "" || rest[0] == '\n'
}

// truncate cuts s to at most n bytes, at a rune's boundary.
func truncate(s string, n int) string {
	if len(s) <= n {
		return s
	}
	const ellipsis = "…"
	for n -= len(ellipsis); n > 0 && !utf8.RuneStart(s[n]); n-- {
	}
	return s[:n] + ellipsis
}
