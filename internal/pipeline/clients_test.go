package pipeline

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// TestTokenIsBound checks that neither pipeline gets a token that is for another Hub.
func TestTokenIsBound(t *testing.T) {
	cases := map[string]struct {
		reason string
		hosts  string
		want   outcome.Reason
	}{
		"Any":    {reason: "A token without a list is for the Hub."},
		"Listed": {reason: "A token may be for several hosts.", hosts: "a.example\nhub.example.com\n"},
		"Other":  {reason: "A token for other hosts should not be sent.", hosts: "db.example.com\n", want: outcome.NotAllowed},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := Source{Endpoint: "https://hub.example.com/", TokenFile: filepath.Join(dir, "token")}
			files := map[string]string{s.TokenFile: "hf_secret\n"}
			if tc.hosts != "" {
				s.TokenHostsFile = filepath.Join(dir, "hosts")
				files[s.TokenHostsFile] = tc.hosts
			}
			for path, content := range files {
				if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			c, err := NewHub(s)
			if err == nil {
				c.Close()
			}
			token, again := s.Token()
			for what, err := range map[string]error{"NewHub(...)": err, "Token()": again} {
				if (err != nil) != (tc.want != "") || err != nil && outcome.ReasonOf(err) != tc.want {
					t.Errorf("\n%s\n%s: want reason %q, got %v", tc.reason, what, tc.want, err)
				}
			}
			if (token != "") != (tc.want == "") {
				t.Errorf("\n%s\nToken(): got %q", tc.reason, token)
			}
		})
	}
}
