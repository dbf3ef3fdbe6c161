package pipeline

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

const (
	// Redacted stands in place of a secret.
	Redacted = "***"

	// minSecret is the least number of bytes of a secret. Shorter values are not
	// masked, since that would hide words.
	minSecret = 4

	// minKeyLine is the least number of bytes of a line of a private key: the last
	// one may be short and reveals little, and BEGIN EC PRIVATE KEY consists of
	// words.
	minKeyLine = 12
)

// Masked returns a pipeline that shows no secret of its runs in its log, its errors
// or its result. A server may repeat them anywhere in its answers.
func Masked(p Pipeline) Pipeline { return maskedPipeline{p} }

type maskedPipeline struct{ Pipeline }

// Run implements Pipeline.
func (m maskedPipeline) Run(ctx context.Context, run Run) (outcome.Result, error) {
	secrets, err := Secrets(run)
	if err != nil {
		return outcome.Result{}, err
	}
	mask := NewMask(secrets)
	if run.Log != nil {
		run.Log = maskedWriter{run.Log, mask}
	}
	result, err := m.Pipeline.Run(ctx, run)
	result.License = mask.Replace(result.License)
	if err == nil || mask.Replace(err.Error()) == err.Error() {
		return result, err
	}
	out := outcome.Errorf(outcome.ReasonOf(err), "%s", mask.Replace(err.Error())).Because(err)
	var e *outcome.Error
	if errors.As(err, &e) {
		out = out.After(e.RetryAfter)
	}
	return result, out
}

// A maskedWriter removes secrets from what is written line by line.
type maskedWriter struct {
	w    io.Writer
	mask Mask
}

// Write implements io.Writer.
func (m maskedWriter) Write(b []byte) (int, error) {
	_, err := io.WriteString(m.w, outcome.WithoutUserinfo(m.mask.Replace(string(b))))
	return len(b), err
}

// A Mask removes secrets from texts.
type Mask struct {
	replacer *strings.Replacer
	forms    []string // longest first
}

// NewMask returns a mask for secrets in each form that a server may repeat
// them in: as they are, escaped in JSON or a URL, and in base64.
func NewMask(secrets []string) Mask {
	var forms []string
	for _, s := range secrets {
		quoted, _ := json.Marshal(s) // A string can always be encoded.
		forms = append(forms, s, strings.Trim(string(quoted), `"`), url.QueryEscape(s), url.PathEscape(s),
			base64.RawStdEncoding.EncodeToString([]byte(s)), base64.RawURLEncoding.EncodeToString([]byte(s)))
	}
	// If a secret begins with another one, the longer one must come first.
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	pairs := make([]string, 0, 2*len(forms))
	for _, f := range forms {
		pairs = append(pairs, f, Redacted)
	}
	return Mask{replacer: strings.NewReplacer(pairs...), forms: forms}
}

// Replace returns the text with Redacted in place of each secret.
func (m Mask) Replace(s string) string { return m.replacer.Replace(s) }

// Trim removes the beginning of a secret from the end of a text that was cut.
func (m Mask) Trim(s string) string {
	most := 0
	for _, f := range m.forms {
		for n := min(len(f), len(s)); n >= max(minSecret, most+1); n-- {
			if strings.HasSuffix(s, f[:n]) {
				most = n
			}
		}
	}
	if most == 0 {
		return s
	}
	return s[:len(s)-most] + Redacted
}

// Secrets returns the secrets in a run's credentials and environment.
func Secrets(run Run) ([]string, error) {
	secrets := append(proxySecrets(), run.Source.Token)
	registries := []struct{ dockerConfig, key string }{{run.Target.DockerConfig, run.Target.KeyFile}}
	if from := run.Source.Artifact; from != nil {
		registries = append(registries, struct{ dockerConfig, key string }{from.DockerConfig, from.KeyFile})
	}
	for _, r := range registries {
		key, err := keyLines(r.key)
		if err != nil {
			return nil, err
		}
		config, err := dockerConfig(r.dockerConfig)
		if err != nil {
			return nil, err
		}
		secrets = append(append(secrets, key...), entrySecrets(config)...)
	}
	secrets = slices.DeleteFunc(secrets, func(s string) bool { return len(s) < minSecret })
	slices.SortStableFunc(secrets, func(a, b string) int { return len(b) - len(a) })
	return secrets, nil
}

// proxyVariables name proxies for Go's programs, kit among them
// (golang.org/x/net/http/httpproxy, FromEnvironment), and for others.
var proxyVariables = []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}

// proxySecrets returns the passwords of the proxies in the environment, each as it is
// written there, unescaped, and as HTTP sends it.
func proxySecrets() []string {
	var secrets []string
	for _, name := range proxyVariables {
		for _, value := range []string{os.Getenv(name), os.Getenv(strings.ToLower(name))} {
			// Parsed by hand, since invalid URLs are logged too. A password may
			// contain an @.
			_, address, found := strings.Cut(value, "://")
			if !found {
				address = value
			}
			at := strings.LastIndexByte(address, '@')
			if at < 0 {
				continue
			}
			account, password, _ := strings.Cut(address[:at], ":")
			secrets = append(secrets, password)
			if plain, err := url.PathUnescape(password); err == nil {
				name, _ := url.PathUnescape(account)
				secrets = append(secrets, plain, name+":"+plain)
			}
		}
	}
	return secrets
}

// entrySecrets returns the secrets in a docker config.json.
func entrySecrets(config []byte) []string {
	var docker struct{ Auths map[string]json.RawMessage }
	// The registry client reports errors of parsing in better words.
	_ = json.Unmarshal(config, &docker)
	var secrets []string
	for _, raw := range docker.Auths {
		var a struct{ Auth, Username, Password, IdentityToken, RegistryToken string }
		_ = json.Unmarshal(raw, &a) // What cannot be read cannot be used.
		secrets = append(secrets, a.Auth, a.Password, a.IdentityToken, a.RegistryToken, passwordIn(a.Auth))
		if a.Password != "" {
			// As HTTP sends it.
			secrets = append(secrets, a.Username+":"+a.Password)
		}
	}
	// Programs that read a secret may trim newlines.
	for _, s := range slices.Clone(secrets) {
		if trimmed := strings.TrimSpace(s); trimmed != s {
			secrets = append(secrets, trimmed)
		}
	}
	return secrets
}

// keyLines returns the lines of a private key in PEM form, without the first and last
// one: a key may be logged line by line.
func keyLines(file string) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the key of the registry's client certificate")
	}
	lines := strings.Fields(string(b))
	return slices.DeleteFunc(lines, func(l string) bool { return len(l) < minKeyLine || strings.HasPrefix(l, "-") }), nil
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
