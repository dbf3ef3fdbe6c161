package pipeline

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"sync"
)

const (
	// maxKitLine bounds a line of kit's output, in bytes.
	maxKitLine = 4096

	// maxKitLines is how many of its last lines a step's output is judged by.
	maxKitLines = 40

	masked = "***"
)

// signedQuery is the query of a URL, in which CDNs and object stores put
// signatures.
var signedQuery = regexp.MustCompile(`(https?://[^\s"'?]+)\?[^\s"']+`)

// A kitLog is a run's log, which no secret gets into. It is safe for
// concurrent use.
type kitLog struct {
	mu   sync.Mutex
	w    io.Writer
	mask *strings.Replacer
}

func newKitLog(w io.Writer, secrets []string) *kitLog {
	if w == nil {
		w = io.Discard
	}
	var pairs []string
	for _, s := range secrets {
		pairs = append(pairs, s, masked)
	}
	return &kitLog{w: w, mask: strings.NewReplacer(pairs...)}
}

// clean takes secrets out of a text.
func (l *kitLog) clean(s string) string {
	return signedQuery.ReplaceAllString(l.mask.Replace(s), "$1?"+masked)
}

func (l *kitLog) printf(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	// Nobody is left to tell that the log cannot be written.
	_, _ = fmt.Fprintln(l.w, l.clean(fmt.Sprintf(format, args...)))
}

// A kitLines is one output of a step: it logs each line as it comes, and keeps
// the last ones.
type kitLines struct {
	log  *kitLog
	rest []byte
	last []string
}

// Write takes output. It never fails.
func (l *kitLines) Write(b []byte) (int, error) {
	n := len(b)
	for {
		line, rest, ended := bytes.Cut(b, []byte("\n"))
		if room := maxKitLine - len(l.rest); len(line) > room {
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

// end ends the line that was begun.
func (l *kitLines) end() {
	line := strings.TrimRight(l.log.clean(string(l.rest)), "\r ")
	l.rest = l.rest[:0]
	if line == "" {
		return
	}
	l.log.printf("  %s", line)
	if len(l.last) == maxKitLines {
		l.last = slices.Delete(l.last, 0, 1)
	}
	l.last = append(l.last, line)
}

// kitSecrets returns what must not be shown of a run's credentials.
func kitSecrets(run Run) ([]string, error) {
	var secrets []string
	add := func(s string) {
		// Shorter ones are no secrets, and masking them would blot out words.
		if len(s) >= 4 {
			secrets = append(secrets, s)
		}
	}
	add(run.Source.Token)
	config, err := dockerConfig(run.Target.DockerConfig)
	if err != nil || config == nil {
		return secrets, err
	}
	var docker struct{ Auths map[string]json.RawMessage }
	// Of what cannot be read the registry's client says so, in better words.
	_ = json.Unmarshal(config, &docker)
	for _, raw := range docker.Auths {
		var a struct{ Auth, Password, IdentityToken, RegistryToken string }
		_ = json.Unmarshal(raw, &a) // What cannot be read cannot be used.
		for _, s := range []string{a.Auth, a.Password, a.IdentityToken, a.RegistryToken, passwordIn(a.Auth)} {
			add(s)
		}
	}
	// Where one secret begins with another, the longer one must go first.
	slices.SortFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	return secrets, nil
}

// passwordIn returns the password in the base64 of user:password.
func passwordIn(auth string) string {
	pair, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(auth, "="))
	if err != nil {
		return ""
	}
	_, password, _ := strings.Cut(string(pair), ":")
	return password
}
