package registry

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/registry"
)

// These tests are against a real registry, CNCF's distribution.

const (
	testPassword = "correct-horse-battery-staple"
	testType     = "application/vnd.test.record.v1+json"
)

var ada = testregistry.User{Name: "ada", Password: testPassword}

// optionsFor returns how to speak to a registry, as its first user.
func optionsFor(r *testregistry.Registry) Options {
	return Options{
		Host: r.Host(), PlainHTTP: r.CA() == nil, Repository: repository, CA: r.CA(), DockerConfig: r.DockerConfig(),
	}
}

// A stored artifact is what an operation works on.
type stored struct {
	repository string
	blob       ocispec.Descriptor
	content    []byte
	manifest   ocispec.Descriptor
	raw        []byte
}

// store pushes an artifact of one blob to a repository, with the tag v1.
func store(t *testing.T, c *Client, repository string) stored {
	t.Helper()
	s := stored{repository: repository, content: []byte(strings.Repeat(repository, 1000))}
	s.blob = describe("application/octet-stream", s.content)
	if err := c.PushBlob(t.Context(), repository, s.blob, bytes.NewReader(s.content)); err != nil {
		t.Fatal(err)
	}
	s.manifest, s.raw = manifestOf(t, s.blob, nil)
	if err := c.PushManifest(t.Context(), repository, s.manifest, s.raw, "v1"); err != nil {
		t.Fatal(err)
	}
	return s
}

// manifestOf returns a manifest of one blob, which refers to a subject if one
// is given.
func manifestOf(t *testing.T, blob ocispec.Descriptor, subject *ocispec.Descriptor) (ocispec.Descriptor, []byte) {
	t.Helper()
	m := ocispec.Manifest{
		Versioned: specs.Versioned{SchemaVersion: 2},
		MediaType: ocispec.MediaTypeImageManifest, Config: blob, Layers: []ocispec.Descriptor{blob}, Subject: subject,
	}
	if subject != nil {
		m.ArtifactType = testType
	}
	b, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return describe(ocispec.MediaTypeImageManifest, b), b
}

// operations are all that a client does with an artifact.
var operations = map[string]func(ctx context.Context, c *Client, s stored) error{
	"Resolve": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.Resolve(ctx, s.repository, "v1")
		return err
	},
	"Manifest": func(ctx context.Context, c *Client, s stored) error {
		_, _, err := c.Manifest(ctx, s.repository, "v1")
		return err
	},
	"HasBlob": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.HasBlob(ctx, s.repository, s.blob)
		return err
	},
	"OpenBlob": func(ctx context.Context, c *Client, s stored) error {
		rc, err := c.OpenBlob(ctx, s.repository, s.blob)
		if err != nil {
			return err
		}
		defer rc.Close()
		_, err = io.Copy(io.Discard, rc)
		return err
	},
	"PushBlob": func(ctx context.Context, c *Client, s stored) error {
		b := slices.Concat(s.content, []byte("more"))
		return c.PushBlob(ctx, s.repository, describe("application/octet-stream", b), io.MultiReader(bytes.NewReader(b)))
	},
	"PushManifest": func(ctx context.Context, c *Client, s stored) error {
		return c.PushManifest(ctx, s.repository, s.manifest, s.raw, "v2")
	},
	"Referrers": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.Referrers(ctx, s.repository, s.manifest.Digest, testType)
		return err
	},
	"Tags": func(ctx context.Context, c *Client, s stored) error {
		_, err := c.Tags(ctx, s.repository)
		return err
	},
	"Untag": func(ctx context.Context, c *Client, s stored) error {
		return c.Untag(ctx, s.repository, "v1")
	},
	"DeleteManifest": func(ctx context.Context, c *Client, s stored) error {
		return c.DeleteManifest(ctx, s.repository, s.manifest)
	},
}

// inOrder are the operations, with those that take away last.
var inOrder = []string{"Resolve", "Manifest", "HasBlob", "OpenBlob", "PushBlob", "PushManifest", "Referrers", "Tags", "Untag", "DeleteManifest"}

func TestDistribution(t *testing.T) {
	t.Parallel()
	r := testregistry.Start(t, testregistry.Options{})
	c := newClient(t, optionsFor(r))
	s := store(t, c, repository)
	for _, name := range inOrder {
		if err := operations[name](t.Context(), c, s); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := c.Resolve(t.Context(), repository, s.manifest.Digest.String()); !IsNotFound(err) {
		t.Errorf("want the manifest to be deleted, got %v", err)
	}
}

// TestDistributionUntag checks that a tag alone goes, and nothing that shares
// its manifest.
func TestDistributionUntag(t *testing.T) {
	t.Parallel()
	c := newClient(t, optionsFor(testregistry.Start(t, testregistry.Options{})))
	s := store(t, c, repository)
	if err := c.PushManifest(t.Context(), repository, s.manifest, s.raw, "keep"); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := c.Untag(t.Context(), repository, "v1"); err != nil {
			t.Errorf("Untag(...): %v", err)
		}
	}
	got, err := c.Tags(t.Context(), repository)
	if diff := cmp.Diff([]string{"keep"}, got); diff != "" || err != nil {
		t.Errorf("Tags(...): %v: -want, +got:\n%s", err, diff)
	}
	if d, err := c.Resolve(t.Context(), repository, "keep"); d.Digest != s.manifest.Digest || err != nil {
		t.Errorf("Resolve(...): want the manifest to stay, got %s, %v", d.Digest, err)
	}
}

// TestDistributionReferrers checks that what refers to a manifest is found, and
// leaves nothing.
func TestDistributionReferrers(t *testing.T) {
	t.Parallel()
	c := newClient(t, optionsFor(testregistry.Start(t, testregistry.Options{})))
	s := store(t, c, repository)
	d, raw := manifestOf(t, s.blob, &s.manifest)
	if err := c.PushManifest(t.Context(), repository, d, raw, d.Digest.String()); err != nil {
		t.Fatal(err)
	}
	found := func(artifactType string) []string {
		t.Helper()
		list, err := c.Referrers(t.Context(), repository, s.manifest.Digest, artifactType)
		if err != nil {
			t.Error(err)
		}
		var out []string
		for _, l := range list {
			out = append(out, l.Digest.String())
		}
		return out
	}
	if diff := cmp.Diff([]string{d.Digest.String()}, found(testType)); diff != "" {
		t.Errorf("Referrers(...): -want, +got:\n%s", diff)
	}
	if got := found("application/vnd.other"); len(got) > 0 {
		t.Errorf("Referrers(...): want none of another type, got %v", got)
	}
	for range 2 {
		if err := c.DeleteManifest(t.Context(), repository, d); err != nil {
			t.Errorf("DeleteManifest(...): %v", err)
		}
	}
	tags, err := c.Tags(t.Context(), repository)
	if diff := cmp.Diff([]string{"v1"}, tags); diff != "" || err != nil || len(found(testType)) > 0 {
		t.Errorf("want the manifest to go from the list, and an empty list to go, too: %v: tags: -want, +got:\n%s", err, diff)
	}
}

func TestDistributionNoDelete(t *testing.T) {
	t.Parallel()
	c := newClient(t, optionsFor(testregistry.Start(t, testregistry.Options{NoDelete: true})))
	s := store(t, c, repository)
	for _, name := range inOrder {
		err := operations[name](t.Context(), c, s)
		if name == "Untag" || name == "DeleteManifest" {
			if !IsUnsupported(err) {
				t.Errorf("%s: want Unsupported, got %v", name, err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDistributionCredentials(t *testing.T) {
	t.Parallel()
	reader := testregistry.User{Name: "reader", Password: testPassword, Actions: []string{"pull"}}
	basic := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada, reader}})
	bearer := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada, reader}, TokenLife: time.Minute})
	token, err := bearer.Token(ada, "repository:"+repository+":pull,push", "repository:"+repository+"/bearerregistry:pull,push,delete")
	if err != nil {
		t.Fatal(err)
	}
	wrong := testregistry.EntryFor(testregistry.User{Name: ada.Name, Password: "wrong-" + testPassword})
	host := func(e testregistry.Entry) map[string]testregistry.Entry {
		return map[string]testregistry.Entry{"HOST": e}
	}
	cases := map[string]struct {
		reason  string
		from    *testregistry.Registry
		entries map[string]testregistry.Entry // HOST stands for the registry; nil for no config.
		want    outcome.Reason
		words   string
	}{
		"Basic":         {reason: "A password is taken.", from: basic, entries: host(testregistry.EntryFor(ada))},
		"BasicWrong":    {reason: "Another is not.", from: basic, entries: host(wrong), want: outcome.Unauthorized, words: "check the ProviderConfig's credentials Secret"},
		"BasicNone":     {reason: "Nobody may not.", from: basic, want: outcome.Unauthorized, words: "kubernetes.io/dockerconfigjson"},
		"BasicStranger": {reason: "Nor whom another registry knows.", from: basic, entries: map[string]testregistry.Entry{"r.example.com": testregistry.EntryFor(ada)}, want: outcome.Unauthorized, words: "has no entry for"},
		"BasicPath":     {reason: "The entry for the repository is used.", from: basic, entries: map[string]testregistry.Entry{"HOST": wrong, "HOST/models": testregistry.EntryFor(ada), "HOST/other": wrong}},
		"BasicWildcard": {reason: "One with wildcards is.", from: basic, entries: map[string]testregistry.Entry{"127.*.0.1:PORT": testregistry.EntryFor(ada)}},
		"BasicIdentity": {reason: "An identity token is no password.", from: basic, entries: host(testregistry.IdentityOf(ada)), want: outcome.Unauthorized, words: "credentials"},

		"Bearer":              {reason: "A token is got with a password.", from: bearer, entries: host(testregistry.EntryFor(ada))},
		"BearerWrong":         {reason: "Not with another.", from: bearer, entries: host(wrong), want: outcome.Unauthorized, words: "refused the credentials"},
		"BearerNone":          {reason: "Nobody's token is good for nothing.", from: bearer, want: outcome.Unauthorized, words: "kubernetes.io/dockerconfigjson"},
		"BearerPath":          {reason: "The entry for the repository is used.", from: bearer, entries: map[string]testregistry.Entry{"HOST": wrong, "HOST/models": testregistry.EntryFor(ada)}},
		"BearerIdentity":      {reason: "A token is got with an identity token.", from: bearer, entries: host(testregistry.IdentityOf(ada))},
		"BearerWrongIdentity": {reason: "Not with another.", from: bearer, entries: host(testregistry.Entry{IdentityToken: "identity-" + testPassword}), want: outcome.Unauthorized, words: "refused the credentials"},
		"BearerRegistry":      {reason: "A registry's token is sent as it is.", from: bearer, entries: host(testregistry.Entry{RegistryToken: token})},
		"BearerWrongRegistry": {reason: "And may be refused.", from: bearer, entries: host(testregistry.Entry{RegistryToken: testPassword}), want: outcome.Unauthorized, words: "refused the credentials"},
		"BearerReader":        {reason: "Who may only read may not push.", from: bearer, entries: host(testregistry.EntryFor(reader)), want: outcome.Unauthorized, words: "no permission to push to " + repository},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			front := tc.from.Front(t)
			o := Options{Host: front.Host(), PlainHTTP: true, Repository: repository}
			if tc.entries != nil {
				_, port, _ := strings.Cut(front.Host(), ":")
				o.DockerConfig = []byte(strings.NewReplacer("HOST", front.Host(), "PORT", port).Replace(string(testregistry.DockerConfig(tc.entries))))
			}
			c := newClient(t, o)
			content := []byte(name)
			err := c.PushBlob(t.Context(), repository, describe("a/b", content), bytes.NewReader(content))
			checkRefusal(t, tc.reason, err, tc.want, tc.words)
			if tc.want != "" {
				return
			}
			s := store(t, c, repository+"/"+strings.ToLower(name))
			for _, op := range inOrder {
				if err := operations[op](t.Context(), c, s); err != nil {
					t.Errorf("\n%s\n%s: %v", tc.reason, op, err)
				}
			}
		})
	}
}

// checkRefusal checks an error's reason and words, and that it tells no secret.
func checkRefusal(t *testing.T, why string, err error, want outcome.Reason, words string) {
	t.Helper()
	if reasonOf(err) != want {
		t.Errorf("\n%s\nwant %q, got %v", why, want, err)
	}
	if err == nil {
		return
	}
	said := err.Error()
	if !strings.Contains(said, words) {
		t.Errorf("\n%s\nwant %q, got %q", why, words, said)
	}
	for _, secret := range []string{testPassword, b64(ada.Name + ":" + testPassword), "Bearer", "secret word"} {
		if strings.Contains(said, secret) {
			t.Errorf("\n%s\nwant no secret in %q", why, said)
		}
	}
}

func TestDistributionTLS(t *testing.T) {
	t.Parallel()
	private := testregistry.Start(t, testregistry.Options{TLS: true, Users: []testregistry.User{ada}})
	mutual := testregistry.Start(t, testregistry.Options{TLS: true, ClientCertificates: true})
	other := testregistry.Start(t, testregistry.Options{TLS: true})
	bearer := testregistry.Start(t, testregistry.Options{TLS: true, Users: []testregistry.User{ada}, TokenLife: time.Minute})
	certificate, key := mutual.ClientCertificate()
	strange, strangeKey := other.ClientCertificate()
	cases := map[string]struct {
		reason string
		from   *testregistry.Registry
		change func(*Options)
		want   outcome.Reason
		words  string
	}{
		"Trusted":   {reason: "With its authority all is well.", from: private, change: func(*Options) {}},
		"Tokens":    {reason: "The authority is for tokens, too.", from: bearer, change: func(*Options) {}},
		"Untrusted": {reason: "The cure is its authority.", from: private, change: func(o *Options) { o.CA = nil }, want: outcome.Untrusted, words: "registry.certSecretRef"},
		"OtherCA":   {reason: "Another's does not help.", from: private, change: func(o *Options) { o.CA = other.CA() }, want: outcome.Untrusted, words: "ca.crt"},
		"PlainHTTP": {reason: "It does not answer without TLS.", from: private, change: func(o *Options) { o.PlainHTTP = true }, want: outcome.Internal, words: "400"},
		"Mutual":    {reason: "With a client certificate all is well.", from: mutual, change: func(o *Options) { o.Certificate, o.Key = certificate, key }},
		"Missing":   {reason: "The cure is a client certificate.", from: mutual, change: func(*Options) {}, want: outcome.Untrusted, words: "tls.crt and tls.key"},
		"Strange":   {reason: "Of an authority that the registry trusts.", from: mutual, change: func(o *Options) { o.Certificate, o.Key = strange, strangeKey }, want: outcome.Untrusted, words: "tls.crt and tls.key"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := optionsFor(tc.from)
			tc.change(&o)
			c := newClient(t, o)
			content := []byte(name)
			checkRefusal(t, tc.reason, c.PushBlob(t.Context(), repository, describe("a/b", content), bytes.NewReader(content)), tc.want, tc.words)
			_, err := c.Resolve(t.Context(), repository, "missing")
			want := tc.want
			if want == "" {
				want = outcome.NotFound
			}
			checkRefusal(t, tc.reason, err, want, tc.words)
		})
	}
}

func TestClientCertificate(t *testing.T) {
	certificate, key := testregistry.Start(t, testregistry.Options{TLS: true}).ClientCertificate()
	cases := map[string]struct {
		reason  string
		options Options
		want    outcome.Reason
	}{
		"None":     {reason: "None is needed."},
		"Pair":     {reason: "A certificate has a key.", options: Options{Certificate: certificate, Key: key}},
		"NoKey":    {reason: "Without it, it is of no use.", options: Options{Certificate: certificate}, want: outcome.Unsupported},
		"KeyAlone": {reason: "Nor is the key.", options: Options{Key: key}, want: outcome.Unsupported},
		"Swapped":  {reason: "What is no pair is told.", options: Options{Certificate: key, Key: certificate}, want: outcome.Unsupported},
		"NoFile":   {reason: "A file that is named should be there.", options: Options{CertificateFile: "/nowhere/tls.crt"}, want: outcome.Internal},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.options.Host = "registry.example.com"
			_, err := New(tc.options)
			if reasonOf(err) != tc.want {
				t.Errorf("\n%s\nNew(...): want %q, got %v", tc.reason, tc.want, err)
			}
			lines := strings.Split(string(key), "\n")
			if err != nil && strings.Contains(err.Error(), lines[1]) {
				t.Errorf("\n%s\nNew(...): the key is in the error", tc.reason)
			}
		})
	}
}
