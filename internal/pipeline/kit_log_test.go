package pipeline

import (
	"bytes"
	"encoding/base64"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestKitLines(t *testing.T) {
	numbered := func(from, to int) []string {
		var out []string
		for i := from; i <= to; i++ {
			out = append(out, "line "+strconv.Itoa(i))
		}
		return out
	}
	type want struct {
		log  string
		last []string
	}
	cases := map[string]struct {
		reason string
		writes []string
		want   want
	}{
		"Pieces": {
			reason: "A line may come in pieces, and the last one without an end.",
			writes: []string{"Downlo", "ading file a\nSaved", " b\n", "end"},
			want: want{
				log:  "  Downloading file a\n  Saved b\n  end\n",
				last: []string{"Downloading file a", "Saved b", "end"},
			},
		},
		"Secret": {
			reason: "A secret should be masked even where it came in pieces.",
			writes: []string{"token hf_se", "cret is bad\n"},
			want:   want{log: "  token *** is bad\n", last: []string{"token *** is bad"}},
		},
		"Many": {
			reason: "Only the last lines should be kept.",
			writes: []string{strings.Join(numbered(1, 100), "\n")},
			want: want{
				log:  "  " + strings.Join(numbered(1, 100), "\n  ") + "\n",
				last: numbered(100-maxKitLines+1, 100),
			},
		},
		"Long": {
			reason: "A line without an end should not fill the memory.",
			writes: []string{strings.Repeat("x", maxKitLine), strings.Repeat("x", maxKitLine), "\nnext\n"},
			want: want{
				log:  "  " + strings.Repeat("x", maxKitLine) + "\n  next\n",
				last: []string{strings.Repeat("x", maxKitLine), "next"},
			},
		},
		"Blank": {
			reason: "Blank lines and carriage returns say nothing.",
			writes: []string{"\n\r\n  \na\r\n"},
			want:   want{log: "  a\n", last: []string{"a"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			log := &bytes.Buffer{}
			l := &kitLines{log: newKitLog(log, []string{"hf_secret"})}
			for _, w := range tc.writes {
				if n, err := io.WriteString(l, w); n != len(w) || err != nil {
					t.Fatalf("Write(...): %d, %v", n, err)
				}
			}
			l.end()
			if diff := cmp.Diff(tc.want, want{log.String(), l.last}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nWrite(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestKitSecrets(t *testing.T) {
	pair := base64.StdEncoding.EncodeToString([]byte("me:pass:word"))
	cases := map[string]struct {
		reason string
		config string
		want   []string
	}{
		"None":  {reason: "Without a config, the token is the one secret.", want: []string{"hf_token"}},
		"Short": {reason: "A short one should not be masked: it would blot out words.", config: `{"auths":{"r":{"password":"ab"}}}`, want: []string{"hf_token"}},
		"All": {
			reason: "All that a config's entries hold is secret, longest first.",
			config: `{"auths":{"r":{"auth":"` + pair + `","identitytoken":"identity-token-1"},"broken":7}}`,
			want:   []string{pair, "identity-token-1", "pass:word", "hf_token"},
		},
		"NoJSON": {reason: "The registry's client will say that it is none.", config: "{", want: []string{"hf_token"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := Run{Source: Source{Token: "hf_token"}}
			if tc.config != "" {
				run.Target.DockerConfig = t.TempDir()
				if err := os.WriteFile(filepath.Join(run.Target.DockerConfig, "config.json"), []byte(tc.config), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			got, err := secretsOf(run)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nsecretsOf(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
