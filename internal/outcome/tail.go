package outcome

import (
	"bytes"
	"regexp"
	"strings"
	"sync"
	"unicode"
)

const (
	// maxTailLines and maxTailLineBytes bound the end of a log.
	maxTailLines     = 40
	maxTailLineBytes = 512

	// maxTailBytes is the size of a termination message with a result and the end of the
	// log: the kubelet keeps no more of a container.
	maxTailBytes = 4096
)

// authorization matches the value of a header with credentials (RFC 9110, section 11.6.2).
var authorization = regexp.MustCompile(`(?i)\b((?:proxy-)?authorization"?\s*[:=]\s*"?(?:(?:basic|bearer|aws4-hmac-sha256|digest)\s+)?)[^\s"',;]+`)

// bearer matches credentials that are named by their scheme alone.
var bearer = regexp.MustCompile(`(?i)\b((?:basic|bearer)\s+)[a-z0-9._~+/=-]{16,}`)

// tokenForm matches what tokens of OIDC issuers and registries (RFC 7515) and of the Hub look
// like.
var tokenForm = regexp.MustCompile(`\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*|\bhf_[A-Za-z0-9_.-]{16,}`)

// WithoutCredentials returns a text without what only credentials look like: the accounts
// and passwords of URLs, their queries, which may be signed, authorizations of HTTP, and
// tokens of well-known forms.
// A secret of another form stays.
func WithoutCredentials(s string) string {
	s = query.ReplaceAllString(s, "$1")
	s = authorization.ReplaceAllString(s, "${1}***")
	s = bearer.ReplaceAllString(s, "${1}***")
	return WithoutUserinfo(tokenForm.ReplaceAllString(s, "***"))
}

// A Tail keeps the last lines that are written to it. It is safe for concurrent use.
type Tail struct {
	mu    sync.Mutex
	lines []string
	rest  []byte // The beginning of a line that has not ended.
}

// Write implements io.Writer. It never fails.
func (t *Tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		// A line is kept up to where no rune of it can count any more.
		t.rest = append(t.rest, line[:min(len(line), max(0, 4*maxTailLineBytes-len(t.rest)))]...)
		if !ended {
			return n, nil
		}
		t.lines = append(t.lines, string(t.rest))
		t.lines = t.lines[max(0, len(t.lines)-maxTailLines):]
		t.rest, b = t.rest[:0], rest
	}
}

// Lines returns the lines that have ended, each as one bounded line that can be shown.
func (t *Tail) Lines() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return tailOf(t.lines)
}

// tailOf returns the last of some foreign lines, each as one bounded line that can be
// shown, without empty ones.
func tailOf(lines []string) []string {
	var out []string
	for _, l := range lines[max(0, len(lines)-maxTailLines):] {
		l = strings.Map(shown, singleLine(WithoutCredentials(l)))
		if l = truncate(l, maxTailLineBytes); l != "" {
			out = append(out, l)
		}
	}
	return out
}

// shown drops characters that change how others are shown, such as their direction.
func shown(r rune) rune {
	if unicode.Is(unicode.Cf, r) {
		return -1
	}
	return r
}

// fitting returns the last lines that fit into some bytes, each with its end.
func fitting(lines []string, room int) []string {
	from := len(lines)
	for from > 0 && room > len(lines[from-1]) {
		from--
		room -= len(lines[from]) + 1
	}
	return lines[from:]
}

// parseTail returns the lines that follow a result in a termination message.
func parseTail(message string) []string {
	if message = strings.TrimSpace(message); message == "" {
		return nil
	}
	return fitting(tailOf(strings.Split(message, "\n")), maxTailBytes)
}
