package registry

import (
	"encoding/json"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/decode"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// fuzzPassword is the password of fuzzed clients. Where an answer holds
// passwordMark, the server repeats the password there.
const (
	fuzzHost     = "registry.example.com"
	fuzzPassword = "FUZZEDPASSWORDTHATNOBODYMAYSEE"
	passwordMark = "PASSWORD"
)

// A sameAnswer is what a server says to every request.
type sameAnswer struct {
	status int
	header http.Header
	body   string
}

// RoundTrip implements http.RoundTripper.
func (a sameAnswer) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{
		Status: http.StatusText(a.status), StatusCode: a.status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: a.header.Clone(), Body: io.NopCloser(strings.NewReader(a.body)), ContentLength: int64(len(a.body)), Request: req,
	}, nil
}

// asking returns a client to which a registry always answers the same.
func asking(a sameAnswer) *Client {
	return &Client{
		host:        fuzzHost,
		credentials: &credentials{last: Credential{Username: "ada"}},
		transport:   &ownTransport{},
		stall:       time.Minute,
		commit:      time.Minute,
		auth: &auth.Client{
			Client:     &http.Client{Transport: waitNoter{next: a}},
			Credential: auth.StaticCredential(fuzzHost, auth.Credential{Username: "ada", Password: fuzzPassword}),
			Cache:      auth.NewCache(),
			// Else each realm's name would be looked up.
			BlockedRealmPrefixes: []netip.Prefix{},
		},
	}
}

// checkSaid checks that an error has a reason and shows no password.
func checkSaid(t *testing.T, call string, err error) {
	t.Helper()
	var known *outcome.Error
	switch {
	case err == nil:
		return
	case !errors.As(err, &known):
		t.Errorf("%s: want an outcome.Error, got %T: %v", call, err, err)
	case strings.Contains(err.Error(), fuzzPassword), strings.Contains(err.Error(), b64("ada:"+fuzzPassword)):
		t.Errorf("%s: the error shows the password: %v", call, err)
	}
}

// FuzzAnswer checks that whatever a registry answers, its own words get into no
// error: it may repeat what it was asked with.
func FuzzAnswer(f *testing.F) {
	const ours = "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
	f.Add(401, `Basic realm="PASSWORD"`, "", "", "", `{"errors":[{"code":"UNAUTHORIZED","message":"PASSWORD"}]}`)
	f.Add(401, `Bearer realm="https://auth.example.com/token?a=PASSWORD",service="PASSWORD"`, "", "", "", "{}")
	f.Add(401, `Bearer realm="https://auth.example.com/token",scope="x"`, "", "", "", `{"token":"t"}`)
	f.Add(401, `Negotiate PASSWORD`, "", "", "", "")
	f.Add(403, "", "", "", "", `{"errors":[{"code":"DENIED","message":"PASSWORD","detail":{"a":"PASSWORD"}}]}`)
	f.Add(400, "", "", "", "", `{"errors":[{"code":"DIGEST_INVALID","message":"PASSWORD"}]}`)
	f.Add(413, "", "", "", "", "PASSWORD")
	f.Add(429, "", "", "", "", "")
	f.Add(500, "", "", "", "", `{"errors":[{"code":"UNKNOWN","message":"quota PASSWORD"}]}`)
	f.Add(200, "", ours, "application/vnd.oci.image.manifest.v1+json", "", "{}")
	f.Add(200, "", "sha256:x", "application/json; a=PASSWORD", "", "{}")
	f.Add(202, "", "", "", "https://registry.example.com/v2/x/blobs/uploads/1?_state=PASSWORD", "")
	f.Add(202, "", "", "", "https://other.example.com/PASSWORD", "")
	f.Add(307, "", "", "", "http://registry.example.com/?PASSWORD", "")
	f.Add(201, "", ours, "", "", "")
	f.Add(401, `Bearer realm="PASSWORD://x"`, "", "", "", "")
	f.Add(200, "", "PASSWORD", "application/json", "", "{}")
	f.Add(200, "", ours, "PASSWORD;", "", "{}")
	f.Add(202, "", "", "", "https://PASSWORD/x", "")
	f.Add(400, "", "", "", "", `{"errors":[{"code":"PASSWORD"}]}`)
	f.Add(200, "", "", ocispec.MediaTypeImageIndex, `<http://PASSWORD/v2/models/qwen3/tags/list>; rel="next"`, `{"tags":["a"],"manifests":[]}`)
	f.Add(200, "", "", "text/html", "<", "PASSWORD")
	f.Fuzz(func(t *testing.T, status int, challenge, sum, mediaType, location, body string) {
		if status < 200 || status > 599 {
			return
		}
		repeat := func(s string) string { return strings.ReplaceAll(s, passwordMark, fuzzPassword) }
		c := asking(sameAnswer{status: status, body: repeat(body), header: http.Header{
			"Www-Authenticate": {repeat(challenge)}, "Docker-Content-Digest": {repeat(sum)},
			"Content-Type": {repeat(mediaType)}, "Location": {repeat(location)}, "Link": {repeat(location)}, "Retry-After": {repeat(sum)},
		}})
		d, err := c.Resolve(t.Context(), repository, "v1")
		checkSaid(t, "Resolve", err)
		if err == nil && d.Digest.Validate() != nil {
			t.Errorf("Resolve(...) = %+v", d)
		}
		d, b, err := c.Manifest(t.Context(), repository, "v1")
		checkSaid(t, "Manifest", err)
		if err == nil && (d.Digest.Algorithm().FromBytes(b) != d.Digest || len(b) > decode.MaxBytes) {
			t.Errorf("Manifest(...) = %+v, %q", d, b)
		}
		blob := describe("application/json", []byte("{}"))
		_, err = c.HasBlob(t.Context(), repository, blob)
		checkSaid(t, "HasBlob", err)
		checkSaid(t, "PushBlob", c.PushBlob(t.Context(), repository, blob, strings.NewReader("{}")))
		checkSaid(t, "PushManifest", c.PushManifest(t.Context(), repository, blob, []byte("{}"), "v1"))
		checkSaid(t, "Untag", c.Untag(t.Context(), repository, "v1"))
		_, err = c.Tags(t.Context(), repository)
		checkSaid(t, "Tags", err)
		_, err = c.Referrers(t.Context(), repository, blob.Digest, "")
		checkSaid(t, "Referrers", err)
	})
}

// FuzzDockerConfigFor checks that what a run gets of a config.json gives it the
// same credential for its registry, and no other, and that no error repeats
// the config.
func FuzzDockerConfigFor(f *testing.F) {
	f.Add([]byte(`{"auths":{"registry.example.com":{"auth":"`+b64("ada:pass")+`"},"other":{"auth":"x"}}}`), fuzzHost)
	f.Add([]byte(`{"auths":{"https://registry.example.com/v1/":{"username":"ada","password":"p\u0000"}},"credsStore":"x"}`), fuzzHost)
	f.Add([]byte(`{"auths":{"registry.example.com":{"identitytoken":"t"}}}`), fuzzHost)
	f.Add([]byte(`{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi","email":"x"}}}`), "docker.io")
	f.Add([]byte(`{"auths":{"registry.example.com":"pass"}}`), fuzzHost)
	f.Add([]byte(`{"auths":[]}`), "")
	f.Fuzz(func(t *testing.T, config []byte, host string) {
		out, err := DockerConfigFor(config, host, repository)
		if err != nil {
			checkSaid(t, "DockerConfigFor", err)
			return
		}
		want, _ := CredentialIn(config, host, repository)
		got, err := CredentialIn(out, host, repository)
		if got != want || got.account() != known || err != nil {
			t.Errorf("DockerConfigFor(%q, %q) = %q, which is read as another credential: %v", config, host, out, err)
		}
		var c dockerConfig
		if err := json.Unmarshal(out, &c); err != nil || len(c.Auths) != 1 {
			t.Errorf("DockerConfigFor(%q, %q) = %q, want one entry: %v", config, host, out, err)
		}
	})
}

// FuzzReference checks that no repository, tag or digest leads a request away
// from the registry.
func FuzzReference(f *testing.F) {
	f.Add("models/qwen3", "v1")
	f.Add("models/qwen3", "sha256:"+strings.Repeat("0", 64))
	f.Add("../x", "v1@sha256:0")
	f.Add("a//b", "v1?x=y")
	f.Add("A", "")
	f.Fuzz(func(t *testing.T, name, reference string) {
		c := asking(sameAnswer{status: http.StatusNotFound, header: http.Header{}})
		if _, err := c.resolvable(name, reference); err != nil {
			checkSaid(t, "resolvable", err)
			return
		}
		if strings.ContainsAny(name+reference, "?#@%\\ \n") || strings.Contains(name, "..") || strings.HasPrefix(name, "/") {
			t.Errorf("resolvable(%q, %q) takes a reference that a URL can misread", name, reference)
		}
		_, err := c.Resolve(t.Context(), name, reference)
		if !IsNotFound(err) {
			t.Errorf("Resolve(%q, %q): want NotFound, got %v", name, reference, err)
		}
	})
}

// FuzzParseReference checks that a reference reads as it is written.
func FuzzParseReference(f *testing.F) {
	f.Add("registry.example.com/models/qwen3:v1")
	f.Add("registry.example.com:5000/models/qwen3@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
	f.Add("a/b:c@sha256:0")
	f.Fuzz(func(t *testing.T, s string) {
		r, err := ParseReference(s)
		if err != nil {
			return
		}
		again, err := ParseReference(r.String())
		r.Tag = again.Tag
		if err != nil || again != r {
			t.Errorf("ParseReference(%q): %+v, and then %+v, %v", s, r, again, err)
		}
	})
}
