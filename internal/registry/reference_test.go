package registry

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/opencontainers/go-digest"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestCanonicalHost(t *testing.T) {
	cases := map[string]struct {
		reason string
		arg    string
		want   string
	}{
		"Plain":       {reason: "Most hosts are what they are.", arg: "registry.example.com", want: "registry.example.com"},
		"Case":        {reason: "DNS knows no case.", arg: "Registry.Example.COM", want: "registry.example.com"},
		"DefaultPort": {reason: "HTTPS has a default port.", arg: "registry.example.com:443", want: "registry.example.com"},
		"OtherPort":   {reason: "Another port is another registry.", arg: "registry.example.com:5000", want: "registry.example.com:5000"},
		"PortsEnd":    {reason: "A port that ends like a default one is another.", arg: "registry.example.com:8443", want: "registry.example.com:8443"},
		"IPv6":        {reason: "The end of an address is no port.", arg: "[2001:db8::443]", want: "[2001:db8::443]"},
		"IPv6Port":    {reason: "HTTPS has a default port.", arg: "[2001:DB8::5]:443", want: "[2001:db8::5]"},
		"DockerHub":   {reason: "Docker Hub has several names.", arg: "index.docker.io", want: "docker.io"},
		"DockerAPI":   {reason: "Docker Hub has several names.", arg: "registry-1.docker.io:443", want: "docker.io"},
		"Docker":      {reason: "Docker Hub's own name stays.", arg: "docker.io", want: "docker.io"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := CanonicalHost(tc.arg); got != tc.want {
				t.Errorf("\n%s\nCanonicalHost(%q): want %q, got %q", tc.reason, tc.arg, tc.want, got)
			}
		})
	}
}

func TestParseReference(t *testing.T) {
	const d = digest.Digest("sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
	cases := map[string]struct {
		reason string
		arg    string
		want   Reference
		text   string
		err    bool
	}{
		"Digest":       {reason: "As status.atProvider.pinnedReference.", arg: "registry.example.com/models/qwen3@" + string(d), want: Reference{Registry: "registry.example.com", Repository: "models/qwen3", Digest: d}},
		"Tag":          {reason: "As status.atProvider.reference.", arg: "registry.example.com/models/qwen3:v1", want: Reference{Registry: "registry.example.com", Repository: "models/qwen3", Tag: "v1"}},
		"Port":         {reason: "A host may have one.", arg: "10.0.0.1:5000/a:v1", want: Reference{Registry: "10.0.0.1:5000", Repository: "a", Tag: "v1"}},
		"IPv6":         {reason: "An address may be in brackets.", arg: "[::1]:5000/a:v1", want: Reference{Registry: "[::1]:5000", Repository: "a", Tag: "v1"}},
		"IPv6Digest":   {reason: "A port may be missing.", arg: "[2001:db8::5]/models/qwen3@" + string(d), want: Reference{Registry: "[2001:db8::5]", Repository: "models/qwen3", Digest: d}},
		"IPv6Bare":     {reason: "Its colons would be ports.", arg: "::1/a:v1", err: true},
		"IPv6Open":     {reason: "It was cut.", arg: "[::1/a:v1", err: true},
		"Both":         {reason: "The digest holds.", arg: "r.example.com/a:v1@" + string(d), want: Reference{Registry: "r.example.com", Repository: "a", Tag: "v1", Digest: d}, text: "r.example.com/a@" + string(d)},
		"Empty":        {reason: "Something is not set.", arg: "", err: true},
		"NoTag":        {reason: "There is no default.", arg: "registry.example.com/a", err: true},
		"NoRepository": {reason: "It is a host.", arg: "registry.example.com:v1", err: true},
		"EmptyTag":     {reason: "Something is not set.", arg: "registry.example.com/a:", err: true},
		"ShortDigest":  {reason: "It was cut.", arg: "registry.example.com/a@sha256:44", err: true},
		"NoDigest":     {reason: "Something is not set.", arg: "registry.example.com/a@", err: true},
		"UpperCase":    {reason: "Repositories are lower-case.", arg: "registry.example.com/A:v1", err: true},
		"Scheme":       {reason: "It is no address.", arg: "https://registry.example.com/a:v1", err: true},
		"DotDot":       {reason: "It would be another path.", arg: "registry.example.com/a/../b:v1", err: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := ParseReference(tc.arg)
			if (err != nil) != tc.err || err != nil && (outcome.ReasonOf(err) != outcome.Unsupported || !strings.Contains(err.Error(), "write registry/repository")) {
				t.Errorf("\n%s\nParseReference(%q): %v", tc.reason, tc.arg, err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nParseReference(%q): -want, +got:\n%s", tc.reason, tc.arg, diff)
			}
			if tc.text == "" {
				tc.text = tc.arg
			}
			if !tc.err && got.String() != tc.text {
				t.Errorf("\n%s\nString(): want %q, got %q", tc.reason, tc.text, got)
			}
		})
	}
}
