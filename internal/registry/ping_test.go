package registry

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

func TestPing(t *testing.T) {
	user := testregistry.User{Name: "robot", Password: "secret"}
	wrong := testregistry.User{Name: "robot", Password: "wrong"}
	open := testregistry.Start(t, testregistry.Options{})
	basic := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{user}})
	bearer := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{user}, TokenLife: time.Minute})
	tls := testregistry.Start(t, testregistry.Options{TLS: true})
	none := httptest.NewServer(http.NotFoundHandler())
	t.Cleanup(none.Close)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	unused := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	config := func(host string, u testregistry.User) []byte {
		return testregistry.DockerConfig(map[string]testregistry.Entry{host: testregistry.EntryFor(u)})
	}
	type want struct {
		accepted bool
		reason   outcome.Reason
		says     string
	}
	cases := map[string]struct {
		reason string
		o      Options
		want   want
	}{
		"Open": {
			reason: "A registry that asks for no credentials should be reachable, and should not count as having accepted any",
			o:      Options{Host: open.Host(), PlainHTTP: true, DockerConfig: config(open.Host(), user)},
		},
		"Anonymous": {
			reason: "A client without credentials should be told that the registry wants some",
			o:      Options{Host: basic.Host(), PlainHTTP: true},
			want:   want{reason: outcome.Unauthorized, says: "wants credentials to read /v2/: name a Secret"},
		},
		"Password": {
			reason: "A registry that takes the password should have accepted it",
			o:      Options{Host: basic.Host(), PlainHTTP: true, DockerConfig: config(basic.Host(), user)},
			want:   want{accepted: true},
		},
		"WrongPassword": {
			reason: "A wrong password should be reported with its cure",
			o:      Options{Host: basic.Host(), PlainHTTP: true, DockerConfig: config(basic.Host(), wrong)},
			want:   want{reason: outcome.Unauthorized, says: "check the ProviderConfig's credentials Secret"},
		},
		"Token": {
			reason: "A registry whose token server takes the password should have accepted it",
			o:      Options{Host: bearer.Host(), PlainHTTP: true, DockerConfig: config(bearer.Host(), user)},
			want:   want{accepted: true},
		},
		"NoToken": {
			reason: "A password that the token server refuses should be reported with its cure",
			o:      Options{Host: bearer.Host(), PlainHTTP: true, DockerConfig: config(bearer.Host(), wrong)},
			want:   want{reason: outcome.Unauthorized, says: "check the ProviderConfig's credentials Secret"},
		},
		"UnknownAuthority": {
			reason: "A certificate of an unknown authority should be reported with its cure",
			o:      Options{Host: tls.Host()},
			want:   want{reason: outcome.Untrusted, says: "put that authority's ca.crt into the Secret"},
		},
		"TrustedAuthority": {
			reason: "A certificate of an authority that was given should be trusted",
			o:      Options{Host: tls.Host(), CA: tls.CA()},
		},
		"Unreachable": {
			reason: "A host where nothing listens should be unavailable",
			o:      Options{Host: unused, PlainHTTP: true},
			want:   want{reason: outcome.Unavailable, says: "cannot read /v2/ at registry"},
		},
		"NoRegistry": {
			reason: "A server without /v2/ should be no registry",
			o:      Options{Host: strings.TrimPrefix(none.URL, "http://"), PlainHTTP: true},
			want:   want{reason: outcome.Unsupported, says: "correct registry.host"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			tc.o.SingleTry = true
			accepted, err := newClient(t, tc.o).Ping(t.Context())
			got := want{accepted: accepted, reason: reasonOf(err), says: tc.want.says}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nPing: -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.want.says) || strings.Contains(err.Error(), wrong.Password)) {
				t.Errorf("\n%s\nPing: got %q, want a text with %q and without the password", tc.reason, err, tc.want.says)
			}
		})
	}
}

func TestPathsFor(t *testing.T) {
	config := testregistry.DockerConfig(map[string]testregistry.Entry{
		"registry.example.com":              {Username: "a"},
		"*.example.com":                     {Username: "b"},
		"registry.example.com/models/qwen3": {Username: "c"},
		"registry.example.com/images":       {Username: "d"},
		"other.example.org/models":          {Username: "e"},
	})
	cases := map[string]struct {
		reason string
		config []byte
		host   string
		prefix string
		want   []string
	}{
		"All": {
			reason: "Without a prefix, the paths of all entries of the host should be returned",
			config: config, host: "registry.example.com", want: []string{"", "images", "models/qwen3"},
		},
		"Prefix": {
			reason: "An entry of repositories that do not begin with the prefix should be left out",
			config: config, host: "registry.example.com", prefix: "models/", want: []string{"", "models/qwen3"},
		},
		"OtherHost": {
			reason: "An entry of another host should be left out",
			config: config, host: "other.example.org", want: []string{"models"},
		},
		"Broken": {
			reason: "What is no docker config.json should have no entries",
			config: []byte("{"), host: "registry.example.com",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, PathsFor(tc.config, tc.host, tc.prefix)); diff != "" {
				t.Errorf("\n%s\nPathsFor: -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
