package pipeline

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// maxQuoted is how much of kit's own words gets into a message, in bytes.
const maxQuoted = 200

// kitStatus finds an HTTP status in what kit, or oras-go in it, says of one:
// "received status code 404 when downloading file", "got error code 401 from
// API", "revision lookup got status 429", "got response 403 (Forbidden) from
// remote", "response status code 500: Internal Server Error", "unexpected
// response code from remote registry: 502 Bad Gateway".
var kitStatus = regexp.MustCompile(`(?:status code|error code|got status|response|registry:) (\d{3})\b`)

// kitPhrases are words by which kit, or a library in it, tells a failure that
// has no HTTP status. The first that fits decides.
var kitPhrases = []struct {
	phrase string
	reason outcome.Reason
}{
	{"no space left on device", outcome.NoSpace},
	{"disk quota exceeded", outcome.NoSpace},
	// Kit loses the error of a layer that it could not write, and stumbles
	// over the file that it removed.
	{"failed to stat temporary file", outcome.NoSpace},
	{"unauthorized", outcome.Unauthorized},
	{"basic credential not found", outcome.Unauthorized},
	{"name unknown", outcome.NotFound},
	{"reference '", outcome.NotFound},
	{"too many requests", outcome.RateLimited},
	{"certificate", outcome.Untrusted},
	{"server gave http response to https client", outcome.Untrusted},
	{"timeout", outcome.Unavailable},
	{"timed out", outcome.Unavailable},
	{"deadline exceeded", outcome.Unavailable},
	{"connection re", outcome.Unavailable}, // refused, reset
	{"no such host", outcome.Unavailable},
	{"no route to host", outcome.Unavailable},
	{"network is unreachable", outcome.Unavailable},
	{"server misbehaving", outcome.Unavailable},
	{"broken pipe", outcome.Unavailable},
	{"eof", outcome.Unavailable},
	{"mismatched file size", outcome.Unavailable},
	{"service unavailable", outcome.Unavailable},
	{"bad gateway", outcome.Unavailable},
}

// kitReason classifies what a failed step left on its standard error, since
// kit exits with 1 whatever went wrong.
func kitReason(stderr []string) outcome.Reason {
	text := strings.ToLower(strings.Join(stderr, "\n"))
	// What the disk did comes first: its consequences can look like others.
	for _, p := range kitPhrases {
		if p.reason == outcome.NoSpace && strings.Contains(text, p.phrase) {
			return p.reason
		}
	}
	if m := kitStatus.FindStringSubmatch(text); m != nil {
		if reason := statusReason(m[1]); reason != outcome.Internal {
			return reason
		}
	}
	for _, p := range kitPhrases {
		if strings.Contains(text, p.phrase) {
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

// failed returns the error of a step, from what it left on its standard error.
func (r *kitRun) failed(step string, stderr []string) *outcome.Error {
	if flag, ok := missesFlag(stderr); ok {
		return outcome.Errorf(outcome.TooOld,
			"the kit in this image does not know %s of kit %s: set the provider's flag --kit-image, or job.kitImage of the ClusterProviderConfig, to a newer ghcr.io/kitops-ml/kitops",
			flag, step)
	}
	reason, said := kitReason(stderr), r.lastWords(stderr)
	if file, ok := missesFile(stderr); ok && step == "import" {
		return outcome.Errorf(outcome.Mismatch, "kit did not download %s, which the Hub has; %s", file, kitDrops)
	}
	peer := "the Hub"
	if step == "push" {
		peer = "registry " + r.run.Target.Registry
	}
	switch {
	case reason == outcome.Unauthorized && step == "push":
		return outcome.Errorf(reason, "%s refused the push to %s: check the credentials, and that their account may push there (kit said: %s)",
			peer, r.run.Target.Repository, said)
	case reason == outcome.Unauthorized:
		return outcome.Errorf(reason, "%s refused to hand out model %s: check the token in the Secret that tokenSecretRef names (kit said: %s)",
			peer, r.run.Source.Model, said)
	case reason == outcome.NotFound:
		return outcome.Errorf(reason, "%s does not have what kit %s asked for: check the names (kit said: %s)", peer, step, said)
	case reason == outcome.RateLimited:
		return outcome.Errorf(reason, "%s limits the rate of requests; this passes by itself (kit said: %s)", peer, said)
	case reason == outcome.NoSpace && step == "push":
		return outcome.Errorf(reason, "%s takes no more, or no file of this size: give it room, or raise its limits (kit said: %s)", peer, said)
	case reason == outcome.NoSpace:
		return outcome.Errorf(reason, "the workspace is full in kit %s: raise spec.forProvider.storage.size (kit said: %s)", step, said)
	case reason == outcome.Untrusted:
		return outcome.Errorf(reason, "kit %s does not trust %s: check certSecretRef, and for a registry without TLS plainHTTP, in the ProviderConfig (kit said: %s)",
			step, peer, said)
	case reason == outcome.Unavailable:
		return outcome.Errorf(reason, "kit %s did not get through to %s; this may pass by itself (kit said: %s)", step, peer, said)
	}
	return outcome.Errorf(outcome.Internal, "kit %s failed: %s", step, said)
}

var kitMissesFile = regexp.MustCompile(`path (.+) does not exist`)

// missesFile returns the file of the Kitfile that kit says is not there, if it
// says so: one that it did not see on the Hub.
func missesFile(stderr []string) (string, bool) {
	m := kitMissesFile.FindStringSubmatch(strings.Join(stderr, "\n"))
	if m == nil {
		return "", false
	}
	return m[1], true
}

// lastWords are kit's own: its last line that tells of an error, without
// secrets, shortened.
func (r *kitRun) lastWords(stderr []string) string {
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
