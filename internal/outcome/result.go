package outcome

import (
	"bytes"
	"encoding/json"
	"math"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Contract is the version of what the controller and a run's worker agree on: the
// worker's arguments, its result and the names that it uses in the registry. A
// worker refuses a run of another version.
const Contract = 2

// CheckpointType is the artifact type of a run's checkpoint: the manifest that lists
// the layers that the run has pushed so far.
const CheckpointType = "application/vnd.kitops.crossplane.checkpoint.v1+json"

// MaxMessageBytes is the most that a worker writes as its termination message.
// The kubelet keeps 4,096 bytes a container and 12,288 a Pod
// (https://kubernetes.io/docs/tasks/debug/debug-application/determine-reason-pod-failure/).
const MaxMessageBytes = 2048

// maxTextBytes bounds a failure's message, so that a result always fits into
// MaxMessageBytes, whatever escaping JSON adds.
const maxTextBytes = 600

const (
	// maxWordBytes bounds what the Hub calls a revision.
	maxWordBytes = 128

	// maxLicenseBytes bounds the expression of a model's licences, which has
	// 256 bytes at most.
	maxLicenseBytes = 256
)

// reasonPattern is what a condition's reason may be: one word.
var reasonPattern = regexp.MustCompile(`^[A-Z][A-Za-z]{0,63}$`)

// query is that of an address in a text.
var query = regexp.MustCompile(`(https?://[^\s"?]+)\?[^\s"]*`)

// digestPattern does not ask for all 64 digits: whether a digest is whole is for
// the registry to say, which is asked for it.
var digestPattern = regexp.MustCompile(`^sha256:[a-f0-9]{1,64}$`)

// A Result is what a run's worker leaves behind, on success and on failure.
type Result struct {
	// Digest of the pushed manifest, as sha256:… Empty when the run failed.
	Digest string `json:"digest,omitempty"`

	// Size of the artifact in bytes: its manifest's layers and config.
	Size int64 `json:"size,omitempty"`

	// Files is the number of files of the model that the artifact holds.
	Files int `json:"files,omitempty"`

	// Revision is the commit that the model was read at, 40 hex digits.
	Revision string `json:"revision,omitempty"`

	// License is the SPDX expression of the licences that the source names, for
	// example Apache-2.0.
	License string `json:"license,omitempty"`

	// Failure says why the run failed; nil when it did not.
	Failure *Failure `json:"failure,omitempty"`
}

// A Failure says why a run failed.
type Failure struct {
	// Reason in one word.
	Reason Reason `json:"reason"`

	// Message that names cause and cure, in one line.
	Message string `json:"message"`

	// RetryAfterSeconds is how long a server asked to wait.
	RetryAfterSeconds int64 `json:"retryAfterSeconds,omitempty"`
}

// Failed returns the result of a run that ended with err.
func Failed(err error) Result {
	f := &Failure{Reason: ReasonOf(err), Message: truncate(singleLine(unsigned(err)), maxTextBytes)}
	f.RetryAfterSeconds = int64(math.Ceil(RetryAfterOf(err).Seconds()))
	return Result{Failure: f}
}

// Write writes the result to the file at path, which the kubelet reads as the
// container's termination message.
func (r Result) Write(path string) error {
	r.Revision, r.License = word(r.Revision), truncate(singleLine(r.License), maxLicenseBytes)
	out := &bytes.Buffer{}
	encoder := json.NewEncoder(out)
	// A bracket would take six bytes, and error pages are full of them.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return errors.Wrap(err, "cannot encode the run's result")
	}
	if out.Len() > MaxMessageBytes {
		return errors.Errorf("the run's result has %d bytes, more than %d", out.Len(), MaxMessageBytes)
	}

	return errors.Wrap(os.WriteFile(path, out.Bytes(), 0o644), "cannot write the run's result")
}

// word returns what others call something as far as it is short enough.
func word(s string) string { return truncate(singleLine(s), maxWordBytes) }

// unsigned returns the error's text without the queries of addresses, which
// may hold signatures.
func unsigned(err error) string { return query.ReplaceAllString(err.Error(), "$1") }

// Parse reads a termination message: a Result, or a bare sha256:… digest, as
// other tools leave it. What is neither is not a result.
func Parse(message string) (Result, bool) {
	message = strings.TrimSpace(message)
	if digestPattern.MatchString(message) {
		return Result{Digest: message}, true
	}
	var r Result
	if err := json.Unmarshal([]byte(message), &r); err != nil {
		return Result{}, false
	}
	r.Revision, r.License = word(r.Revision), truncate(singleLine(r.License), maxLicenseBytes)
	hasDigest := digestPattern.MatchString(r.Digest)
	if !hasDigest {
		r.Digest = ""
	}
	if r.Failure != nil {
		r.Failure.Message = truncate(singleLine(r.Failure.Message), maxTextBytes)
		return r, reasonPattern.MatchString(string(r.Failure.Reason))
	}
	return r, hasDigest
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
