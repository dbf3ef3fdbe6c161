package registry

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

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
		"PlainHTTP": {reason: "It does not answer without TLS.", from: private, change: func(o *Options) { o.PlainHTTP = true }, want: outcome.Unsupported, words: "400"},
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
