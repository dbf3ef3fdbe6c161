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
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
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
	mask, err := newLiveMask(run)
	if err != nil {
		return outcome.Result{}, err
	}
	if i := run.Source.Identity; i != nil {
		watched := *i
		watched.Issued = mask.add
		run.Source.Identity = &watched
	}
	run.Source.Issued = mask.issued
	if b := run.Source.S3; b != nil && b.Keys != nil {
		watched := *b
		watched.Keys = watchedKeys{b.Keys, mask}
		run.Source.S3 = &watched
	}
	if g := run.Source.GCS; g != nil {
		watched := *g
		watched.Tokens = mask.watch(g.Tokens)
		run.Source.GCS = &watched
	}
	if b := run.Source.AzureBlob; b != nil {
		watched := *b
		watched.Tokens = mask.watch(b.Tokens)
		run.Source.AzureBlob = &watched
	}
	run.Target.Identity = mask.watch(run.Target.Identity)
	if a := run.Source.Artifact; a != nil {
		watched := *a
		watched.Identity = mask.watch(a.Identity)
		run.Source.Artifact = &watched
	}
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
	mask interface{ Replace(s string) string }
}

// Write implements io.Writer.
func (m maskedWriter) Write(b []byte) (int, error) {
	_, err := io.WriteString(m.w, outcome.WithoutCredentials(m.mask.Replace(string(b))))
	return len(b), err
}

// A liveMask removes the secrets of a run from texts, also those that its files get while
// it runs. It is safe for concurrent use.
type liveMask struct {
	run  Run
	read fileReader

	mu      sync.Mutex
	secrets []string // All that there were.
	mask    Mask
}

// newLiveMask returns a mask for the secrets of a run.
func newLiveMask(run Run) (*liveMask, error) {
	files := map[string]*connection.MountedFile{}
	m := &liveMask{run: run, read: func(path string) ([]byte, error) {
		if files[path] == nil {
			files[path] = connection.NewMountedFile(path)
		}
		return files[path].Read()
	}}
	secrets, err := secretsIn(run, m.read)
	m.set(secrets)
	return m, err
}

// set has the mask remove these secrets, too.
func (m *liveMask) set(secrets []string) {
	known := len(m.secrets)
	for _, s := range secrets {
		if !slices.Contains(m.secrets, s) {
			m.secrets = append(m.secrets, s)
		}
	}
	if len(m.secrets) > known {
		m.mask = NewMask(m.secrets)
	}
}

// add has the mask remove another secret.
func (m *liveMask) add(secret string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.set([]string{secret})
}

// issued has the mask remove a credential, if it is one.
func (m *liveMask) issued(secret string) {
	if len(secret) >= minSecret {
		m.add(secret)
	}
}

// watch has the mask remove the passwords of an identity, too, each before it is used, alone
// and with its username.
func (m *liveMask) watch(s identity.Source) identity.Source {
	if s == nil {
		return nil
	}
	return watchedIdentity{s, m}
}

type watchedIdentity struct {
	identity.Source

	mask *liveMask
}

// Token implements identity.Source.
func (w watchedIdentity) Token(ctx context.Context) (username, password string, expires time.Time, err error) {
	username, password, expires, err = w.Source.Token(ctx)
	w.mask.issued(password)
	if password != "" {
		// As HTTP sends it, in base64.
		w.mask.issued(username + ":" + password)
	}
	return username, password, expires, err
}

// watchedKeys are keys of AWS, which the mask removes before they are used. The name of a
// key is no secret.
type watchedKeys struct {
	Keys

	mask *liveMask
}

// Credentials implements Keys.
func (w watchedKeys) Credentials(ctx context.Context) (aws.Credentials, error) {
	k, err := w.Keys.Credentials(ctx)
	w.mask.issued(k.SecretAccessKey)
	w.mask.issued(k.SessionToken)
	return k, err
}

// Replace returns the text with Redacted in place of each secret.
func (m *liveMask) Replace(s string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if secrets, err := secretsIn(m.run, m.read); err == nil {
		m.set(secrets)
	}
	return m.mask.Replace(s)
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
func (m Mask) Replace(s string) string {
	if m.replacer == nil {
		return s
	}
	return m.replacer.Replace(s)
}

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
func Secrets(run Run) ([]string, error) { return secretsIn(run, os.ReadFile) }

// A fileReader returns the content of a file.
type fileReader func(path string) ([]byte, error)

// secretsIn returns the secrets in the files of a run's credentials, and in its
// environment.
func secretsIn(run Run, read fileReader) ([]string, error) {
	secrets := proxySecrets()
	if path := run.Source.TokenFile; path != "" {
		token, err := read(path)
		if err != nil {
			return nil, errors.Wrap(err, "cannot read the Hub's token")
		}
		secrets = append(secrets, connection.Trimmed(string(token)))
	}
	own, err := folderSecrets(run.Source.CredentialsFolder, read)
	if err != nil {
		return nil, err
	}
	secrets = append(secrets, own...)
	registries := []struct{ dockerConfig, key string }{{run.Target.DockerConfig, run.Target.KeyFile}}
	if from := run.Source.Artifact; from != nil {
		registries = append(registries, struct{ dockerConfig, key string }{from.DockerConfig, from.KeyFile})
	}
	for _, r := range registries {
		key, err := keyLines(r.key, read)
		if err != nil {
			return nil, err
		}
		config, err := dockerConfig(r.dockerConfig, read)
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
func keyLines(file string, read fileReader) ([]string, error) {
	if file == "" {
		return nil, nil
	}
	b, err := read(file)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the key of the registry's client certificate")
	}
	return longLines(string(b)), nil
}

// longLines returns the lines of a key in PEM form that reveal something of it.
func longLines(pem string) []string {
	return slices.DeleteFunc(strings.Fields(pem), func(l string) bool { return len(l) < minKeyLine || strings.HasPrefix(l, "-") })
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
