package pipeline

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

func TestMask(t *testing.T) {
	const secret = `p"a s/s+w=ö`
	m := NewMask([]string{secret})
	quoted, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{
		secret, strings.Trim(string(quoted), `"`), url.QueryEscape(secret), url.PathEscape(secret),
		base64.StdEncoding.EncodeToString([]byte(secret)), base64.URLEncoding.EncodeToString([]byte(secret)),
	} {
		if got := strings.TrimRight(m.Replace("<"+form+">"), "=>"); got != "<"+Redacted {
			t.Errorf("%q is shown as %q", form, got)
		}
	}
}

// TestMaskProxy has a log and errors repeat the address of a proxy.
func TestMaskProxy(t *testing.T) {
	for _, name := range []string{"HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"} {
		t.Setenv(name, "")
	}
	t.Setenv("https_proxy", "http://account:s3cret%2Fword@proxy.example.com:3128")
	t.Setenv("ALL_PROXY", "account:0ther/w@rd@proxy.example.com")
	secrets, err := Secrets(Run{})
	if err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	l := maskedWriter{log, NewMask(secrets)}
	sent := base64.StdEncoding.EncodeToString([]byte("account:s3cret/word"))
	for _, line := range []string{
		`invalid proxy address "http://account:s3cret%2Fword@proxy.example.com:3128"`,
		"Proxy-Authorization: Basic " + sent,
		"dial account:0ther/w@rd@proxy.example.com",
		"password s3cret/word",
		"GET https://any:t0pSecret@hub.example.com/a@b",
	} {
		_, _ = io.WriteString(l, line)
	}
	for _, secret := range []string{"s3cret", "0ther", "w@rd", "t0pSecret", strings.TrimRight(sent, "=")} {
		if strings.Contains(log.String(), secret) {
			t.Errorf("the log holds %q:\n%s", secret, log)
		}
	}
	if !strings.Contains(log.String(), "***@proxy.example.com:3128") || !strings.Contains(log.String(), "@hub.example.com/a@b") {
		t.Errorf("want the log to name the hosts:\n%s", log)
	}
}

// TestMaskKey has a server repeat a private key, as a file and line by line.
func TestMaskKey(t *testing.T) {
	_, key := testregistry.Start(t, testregistry.Options{TLS: true}).ClientCertificate()
	file := filepath.Join(t.TempDir(), "tls.key")
	if err := os.WriteFile(file, key, 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := Secrets(Run{Target: Target{KeyFile: file}})
	if err != nil {
		t.Fatal(err)
	}
	m := NewMask(secrets)
	quoted, err := json.Marshal(string(key))
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(key)), "\n")
	for name, said := range map[string]string{"Whole": string(key), "Quoted": string(quoted), "Line": "x " + lines[1] + " y"} {
		got := m.Replace(said)
		for _, l := range lines[1 : len(lines)-2] {
			if strings.Contains(got, l) {
				t.Errorf("%s: the key is shown: %s", name, got)
			}
		}
	}
	if got := m.Replace(lines[0] + " PRIVATE KEY"); got != lines[0]+" PRIVATE KEY" {
		t.Errorf("what says that it is a key is none: %s", got)
	}
	for _, run := range []Run{{Target: Target{KeyFile: "/nowhere/tls.key"}}, {Source: Source{TokenFile: "/nowhere/hub-token"}}} {
		if _, err := Secrets(run); err == nil {
			t.Error("want a file that is not there to be told")
		}
	}
}

func TestSecrets(t *testing.T) {
	pair := base64.StdEncoding.EncodeToString([]byte("me:pass:word"))
	cases := map[string]struct {
		reason string
		config string
		want   []string
	}{
		"None":  {reason: "Without a config, the token should be the only secret.", want: []string{"hf_token"}},
		"Short": {reason: "A short one should not be masked: it would blot out words.", config: `{"auths":{"r":{"password":"ab"}}}`, want: []string{"hf_token"}},
		"All": {
			reason: "All credentials of a config should be secret, the longest first.",
			config: `{"auths":{"r":{"auth":"` + pair + `","identitytoken":"identity-token-1"},"broken":7}}`,
			want:   []string{pair, "identity-token-1", "pass:word", "hf_token"},
		},
		"NoJSON": {reason: "A config that cannot be parsed should be no error here.", config: "{", want: []string{"hf_token"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			run := Run{Source: Source{TokenFile: filepath.Join(dir, "hub-token")}}
			if err := os.WriteFile(run.Source.TokenFile, []byte(" hf_token\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			if tc.config != "" {
				run.Target.DockerConfig = dir
				if err := os.WriteFile(filepath.Join(run.Target.DockerConfig, "config.json"), []byte(tc.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := Secrets(run)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nSecrets(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestMaskOfSource has a source's registry repeat what it was asked with.
func TestMaskOfSource(t *testing.T) {
	dir := t.TempDir()
	config := testregistry.DockerConfig(map[string]testregistry.Entry{"registry.example.com": {Username: "u", Password: "REPEATEDPASSWORD"}})
	if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(dir, "tls.key")
	if err := os.WriteFile(key, []byte("-----BEGIN\nREPEATEDKEYREPEATEDKEY\n-----END\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets, err := Secrets(Run{Source: Source{Artifact: &ArtifactSource{DockerConfig: dir, KeyFile: key}}})
	if err != nil {
		t.Fatal(err)
	}
	if got := NewMask(secrets).Replace("REPEATEDPASSWORD u:REPEATEDPASSWORD REPEATEDKEYREPEATEDKEY"); strings.Contains(got, "REPEATED") {
		t.Errorf("a secret is shown: %s", got)
	}
}

// An identity has passwords of which each is used once.
type identityOf struct {
	username  string
	passwords chan string
}

// Token implements identity.Source.
func (i identityOf) Token(context.Context) (username, password string, expires time.Time, err error) {
	return i.username, <-i.passwords, time.Time{}, nil
}

// A repeating pipeline logs what it sends with the account of its target and its source.
type repeating struct{}

// Run implements Pipeline.
func (repeating) Run(ctx context.Context, run Run) (outcome.Result, error) {
	for _, i := range []identity.Source{run.Target.Identity, run.Source.Artifact.Identity, run.Target.Identity} {
		username, password, _, err := i.Token(ctx)
		if err != nil {
			return outcome.Result{}, err
		}
		pair := username + ":" + password
		_, _ = fmt.Fprintf(run.Log, "%s, %s, sent as %s\n", password, pair, base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	return outcome.Result{}, nil
}

// TestMaskOfIdentity has a log repeat each account that the identity of a run issues.
func TestMaskOfIdentity(t *testing.T) {
	target := identityOf{"AWS", make(chan string, 2)}
	target.passwords <- "first-password"
	target.passwords <- "second-password"
	source := identityOf{"oauth2accesstoken", make(chan string, 1)}
	source.passwords <- "source-password"
	log := &strings.Builder{}
	run := Run{Source: Source{Artifact: &ArtifactSource{Identity: source}}, Target: Target{Identity: target}, Log: log}
	if _, err := Masked(repeating{}).Run(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	for _, pair := range []string{"AWS:first-password", "AWS:second-password", "oauth2accesstoken:source-password"} {
		_, password, _ := strings.Cut(pair, ":")
		for _, secret := range []string{password, pair, base64.RawStdEncoding.EncodeToString([]byte(pair))} {
			if strings.Contains(log.String(), secret) {
				t.Errorf("%s is shown:\n%s", secret, log)
			}
		}
	}
}

// A logging pipeline logs what a script says, as a pipeline that repeats answers.
type logging func(log func(string))

// Run implements Pipeline.
func (f logging) Run(_ context.Context, run Run) (outcome.Result, error) {
	last := ""
	f(func(line string) { last = line; _, _ = io.WriteString(run.Log, line+"\n") })
	if i := run.Source.Identity; i != nil {
		i.Issued("issued-by-the-hub")
		_, _ = io.WriteString(run.Log, "token issued-by-the-hub\n")
	}
	return outcome.Result{}, outcome.Errorf(outcome.Unavailable, "%s", last)
}

// TestMaskFollowsFiles changes the secrets of a run while it runs: the new ones must be
// shown as little as the old ones.
func TestMaskFollowsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := errors.Join(os.WriteFile(path+".new", []byte(content), 0o600), os.Rename(path+".new", path)); err != nil {
			t.Fatal(err)
		}
	}
	config := func(password string) string {
		return string(testregistry.DockerConfig(map[string]testregistry.Entry{"r.example.com": {Username: "ada", Password: password}}))
	}
	write("hub-token", "first-token\n")
	write("config.json", config("first-password"))
	log := &strings.Builder{}
	run := Run{
		Source: Source{TokenFile: filepath.Join(dir, "hub-token"), Identity: &Identity{}},
		Target: Target{DockerConfig: dir}, Log: log,
	}
	const all = "first-token second-token first-password second-password ada:second-password"
	_, err := Masked(logging(func(say func(string)) {
		say("with first-token and first-password")
		write("hub-token", "second-token\n")
		write("config.json", config("second-password"))
		say(all)
		write("config.json", "{")
		say(all)
	})).Run(t.Context(), run)
	text := log.String() + err.Error()
	for _, secret := range []string{"first-token", "second-token", "first-password", "second-password", "issued-by-the-hub"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is shown:\n%s", secret, text)
		}
	}
	if !strings.Contains(text, "with *** and ***") || outcome.ReasonOf(err) != outcome.Unavailable {
		t.Errorf("want the rest to stay, got %v\n%s", err, text)
	}
}

// FuzzSecrets checks that each password of a config.json that docker can
// read is known as a secret, alone and in the base64 that it is sent in.
func FuzzSecrets(f *testing.F) {
	f.Add([]byte(`{"auths":{"r.example.com":{"username":"ada","password":"pass word"}}}`))
	f.Add([]byte(`{"auths":{"r.example.com":{"auth":"YWRhOnBhc3N3b3Jk"}}}`))
	f.Add([]byte(`{"auths":{"r.example.com":{"identitytoken":"t0k3n"},"x":null,"y":[]}}`))
	f.Add([]byte(`{"auths":{"r.example.com":{"auth":"YWRhOnBhc3N3b3Jk=="}}}`))
	f.Add([]byte(`[]`))
	f.Fuzz(func(t *testing.T, config []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "config.json"), config, 0o600); err != nil {
			t.Fatal(err)
		}
		secrets, err := Secrets(Run{Target: Target{DockerConfig: dir}})
		if err != nil {
			t.Fatal(err)
		}
		var c struct {
			Auths map[string]struct{ Auth, Password, IdentityToken, RegistryToken string }
		}
		if json.Unmarshal(config, &c) != nil {
			return
		}
		m := NewMask(secrets)
		for _, a := range c.Auths {
			for _, secret := range []string{a.Auth, a.Password, a.IdentityToken, a.RegistryToken, passwordIn(a.Auth)} {
				if len(secret) < 4 || strings.Trim(secret, "* xy") == "" {
					// It is no secret, or looks as what stands in its place.
					continue
				}
				if strings.Contains(m.Replace("x "+secret+" y"), secret) {
					t.Errorf("config %q: %q is shown as %q", config, secret, m.Replace(secret))
				}
			}
		}
	})
}

// issuedKeys are keys that AWS issued to a run's identity.
type issuedKeys struct{}

// Credentials implements Keys.
func (issuedKeys) Credentials(context.Context) (aws.Credentials, error) {
	return aws.Credentials{AccessKeyID: "ASIA-is-no-secret", SecretAccessKey: "identity/secret+key", SessionToken: "identity-session-token"}, nil
}

// TestMaskOfFolder has a bucket's server repeat what is in the source's Secret, and what a
// cloud issued.
func TestMaskOfFolder(t *testing.T) {
	dir := t.TempDir()
	signature := "c2lnbmF0dXJl/of+a/SAS="
	secrets := map[string]string{
		"AWS_SECRET_ACCESS_KEY": "aws/secret+key", "AWS_SESSION_TOKEN": "aws-session-token", "AZURE_STORAGE_ACCESS_KEY": "YXp1cmUga2V5IG9mIGFuIGFjY291bnQ=",
		"AZURE_STORAGE_SAS_TOKEN": "?sv=2025-01-05&sp=rl&sig=" + url.QueryEscape(signature) + "\n", "AZURE_CLIENT_SECRET": "azure~client", "password": "the-password", "token": "the-token",
		"gcloud-application-credentials.json": `{"private_key":"-----BEGIN PRIVATE KEY-----\nMIIEvgIBADANBgkqhki\n-----END PRIVATE KEY-----\n"}`,
		"AWS_ACCESS_KEY_ID":                   "AKIA-is-no-secret", "username": "reader",
	}
	for name, value := range secrets {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(value), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	log := &strings.Builder{}
	_, err := Masked(pipelineFunc(func(_ context.Context, run Run) (outcome.Result, error) {
		run.Source.Issued("issued-access-token")
		if _, err := run.Source.S3.Keys.Credentials(context.Background()); err != nil {
			t.Error(err)
		}
		for _, line := range []string{
			"aws/secret+key", "aws-session-token", "SharedKey YXp1cmUga2V5IG9mIGFuIGFjY291bnQ=", "sig " + signature, "sig " + url.QueryEscape(signature),
			"azure~client", "the-password", base64.StdEncoding.EncodeToString([]byte("reader:the-password")), "the-token", "MIIEvgIBADANBgkqhki", "issued-access-token",
			"identity/secret+key", "identity-session-token",
		} {
			_, _ = io.WriteString(run.Log, "said "+line+"\n")
		}
		_, _ = io.WriteString(run.Log, "key AKIA-is-no-secret of reader\n")
		return outcome.Result{}, outcome.Errorf(outcome.Unauthorized, "refused %s", signature)
	})).Run(t.Context(), Run{Source: Source{CredentialsFolder: dir, S3: &S3Source{Keys: issuedKeys{}}}, Log: log})
	for _, line := range strings.Split(log.String(), "\n") {
		if strings.HasPrefix(line, "said") && strings.Trim(strings.NewReplacer(Redacted, "", "said", "", "SharedKey", "", "sig", "").Replace(line), " =") != "" {
			t.Errorf("want no part of a secret in the log, got %q", line)
		}
	}
	if !strings.Contains(log.String(), "key AKIA-is-no-secret of reader") {
		t.Errorf("want the log to name accounts:\n%s", log)
	}
	if err == nil || err.Error() != "refused "+Redacted {
		t.Errorf("want the error without the signature, got %v", err)
	}
}
