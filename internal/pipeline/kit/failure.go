package kit

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// maxQuoted is how much of kit's own words gets into a message, in bytes.
const maxQuoted = 200

// statusPattern matches an HTTP status in the messages of kit, or of oras-go in it:
// "received status code 404 when downloading file", "got error code 401 from API",
// "revision lookup got status 429", "got response 403 (Forbidden) from remote",
// "response status code 500: Internal Server Error", "unexpected response code from
// remote registry: 502 Bad Gateway".
var statusPattern = regexp.MustCompile(`(?:status code|error code|got status|response|registry:) (\d{3})\b`)

// diskPattern matches what kit prints when the workspace is full. The last
// alternative is for a layer that it could not write: kit loses that error, and fails
// on the file that it removed.
var diskPattern = regexp.MustCompile(`no space left on device|disk quota exceeded|failed to stat temporary file`)

// quotedPattern matches names and addresses that kit quotes, whose words mean
// nothing.
var quotedPattern = regexp.MustCompile(`"[^"]*"|https?://\S+`)

// phrases are words by which kit, or a library in it, reports a failure that has no
// HTTP status. The first match decides.
var phrases = []struct {
	phrase *regexp.Regexp
	reason outcome.Reason
}{
	{regexp.MustCompile(`\bunauthorized\b|\bbasic credential not found\b`), outcome.Unauthorized},
	{regexp.MustCompile(`\bname unknown\b|\breference '`), outcome.NotFound},
	{regexp.MustCompile(`\bmanifest invalid\b`), outcome.Unsupported},
	{regexp.MustCompile(`\btoo many requests\b`), outcome.RateLimited},
	{regexp.MustCompile(`\bcertificate\b|\bserver gave http response to https client\b`), outcome.Untrusted},
	{regexp.MustCompile(`\btimeout\b|\btimed out\b|\bdeadline exceeded\b`), outcome.Unavailable},
	{regexp.MustCompile(`\bconnection (?:refused|reset)\b|\bbroken pipe\b|\beof\b|\bmismatched file size\b`), outcome.Unavailable},
	{regexp.MustCompile(`\bno such host\b|\bno route to host\b|\bnetwork is unreachable\b|\bserver misbehaving\b`), outcome.Unavailable},
	{regexp.MustCompile(`\bservice unavailable\b|\bbad gateway\b`), outcome.Unavailable},
}

// reasonOf classifies what a failed command printed to its standard error, since kit
// exits with 1 whatever the error is.
func reasonOf(stderr []string) outcome.Reason {
	text := strings.ToLower(strings.Join(stderr, "\n"))
	// A full disk comes first: its consequences can look like other errors.
	if diskPattern.MatchString(text) {
		return outcome.NoSpace
	}
	text = quotedPattern.ReplaceAllString(text, "")
	if m := statusPattern.FindStringSubmatch(text); m != nil {
		reason := statusReason(m[1])
		if m[1][0] == '4' && !reason.Transient() && registry.SaysFull(text) {
			// Registries refuse what a quota does not allow.
			return outcome.NoSpace
		}
		if reason != outcome.Internal {
			return reason
		}
	}
	for _, p := range phrases {
		if p.phrase.MatchString(text) {
			return p.reason
		}
	}
	return outcome.Internal
}

func statusReason(status string) outcome.Reason {
	code, _ := strconv.Atoi(status) // The pattern takes digits only.
	switch {
	case code == http.StatusUnauthorized, code == http.StatusForbidden:
		return outcome.Unauthorized
	case code == http.StatusNotFound:
		return outcome.NotFound
	case code == http.StatusTooManyRequests:
		return outcome.RateLimited
	case code == http.StatusRequestEntityTooLarge, code == http.StatusInsufficientStorage:
		return outcome.NoSpace
	case code >= http.StatusInternalServerError, code == http.StatusRequestTimeout:
		return outcome.Unavailable
	}
	return outcome.Internal
}

// failed returns the error of a command, from what it printed to its standard error.
func (r *task) failed(step string, stderr []string) *outcome.Error {
	if flag, ok := missesFlag(stderr); ok {
		return outcome.Errorf(outcome.TooOld,
			"the kit in this image does not know %s of kit %s: set the provider's flag --kit-image, or job.kitImage of the ClusterProviderConfig, to a newer ghcr.io/kitops-ml/kitops",
			flag, step)
	}
	reason, said := reasonOf(stderr), r.lastWords(stderr)
	if file, ok := missesFile(stderr); ok && step == "import" {
		return outcome.Errorf(outcome.Mismatch, "kit did not download %s, which the Hub has; %s", file, dropsFiles)
	}
	peer := "the Hub"
	if step == "push" {
		peer = "registry " + r.run.Target.Registry
		if err := r.failedPush(reason, peer, said); err != nil {
			return err
		}
	}
	switch reason {
	case outcome.Unauthorized:
		return outcome.Errorf(reason, "%s refused to hand out model %s: check the token in the Secret that tokenSecretRef names (kit said: %s)",
			peer, r.run.Source.Model, said)
	case outcome.NotFound:
		return outcome.Errorf(reason, "%s does not have what kit %s asked for: check the names (kit said: %s)", peer, step, said)
	case outcome.RateLimited:
		return outcome.Errorf(reason, "%s limits the rate of requests; this is transient and is retried (kit said: %s)", peer, said)
	case outcome.NoSpace:
		return outcome.Errorf(reason, "the workspace is full in kit %s: raise spec.forProvider.storage.size (kit said: %s)", step, said)
	case outcome.Untrusted:
		return outcome.Errorf(reason, "kit %s does not trust %s: check certSecretRef, and for a registry without TLS plainHTTP, in the ProviderConfig (kit said: %s)",
			step, peer, said)
	case outcome.Unavailable:
		return outcome.Errorf(reason, "kit %s did not get through to %s; this may be transient (kit said: %s)", step, peer, said)
	default:
		return outcome.Errorf(outcome.Internal, "kit %s failed: %s", step, said)
	}
}

// failedPush returns the error of a push for a reason that means something else
// there than in other steps; nil for other reasons.
func (r *task) failedPush(reason outcome.Reason, peer, said string) *outcome.Error {
	switch reason {
	case outcome.Unauthorized:
		return outcome.Errorf(reason, "%s refused the push to %s: check the credentials, and that their account may push there (kit said: %s)",
			peer, r.run.Target.Repository, said)
	case outcome.NoSpace:
		return outcome.Errorf(reason, "%s takes no more, or no file of this size: give it room, or raise its limits (kit said: %s)", peer, said)
	case outcome.Unsupported:
		return outcome.Errorf(reason, "%s does not take the artifact: have it allow the media types of models, or choose a spec.forProvider.format that it takes, such as Image (kit said: %s)", peer, said)
	default:
		return nil
	}
}

var missingFilePattern = regexp.MustCompile(`path (.+) does not exist`)

// missesFile returns the file of the Kitfile that kit reports as missing, one that it
// did not see on the Hub, and reports whether there is one.
func missesFile(stderr []string) (string, bool) {
	m := missingFilePattern.FindStringSubmatch(strings.Join(stderr, "\n"))
	if m == nil {
		return "", false
	}
	return m[1], true
}

// lastWords returns kit's own words: the last line that tells of an error, without
// secrets, shortened.
func (r *task) lastWords(stderr []string) string {
	said := "nothing"
	for _, line := range stderr {
		if strings.HasPrefix(line, "panic: ") {
			// What follows is where in kit it was.
			said = line
			break
		}
		if rest, ok := strings.CutPrefix(line, "[ERROR] "); ok || !strings.HasPrefix(line, "[") {
			said = rest
		}
	}
	if len(said) > maxQuoted {
		said = strings.ToValidUTF8(said[:maxQuoted], "") + "…"
	}
	return r.log.clean(said)
}
