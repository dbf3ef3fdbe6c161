package registry

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestDockerConfigFor(t *testing.T) {
	// What no error may echo.
	const secret = "hunter2"
	mine := `{"username":"ada","password":"` + secret + `"}`
	theirs := `{"username":"bob","password":"` + secret + `"}`

	type args struct {
		config     string
		host       string
		repository string
	}
	type want struct {
		Config string
		Reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Only": {
			reason: "No other host's entry is handed on, and no other part of the config.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":` + mine + `,"x.example.com":` + theirs + `},"credsStore":"evil"}`},
			want:   want{Config: `{"auths":{"r.example.com":` + mine + `}}`},
		},
		"Newline": {
			reason: "Who does not trim values gets trimmed ones.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":{"username":"ada","password":"` + secret + `\n"}}}`},
			want:   want{Config: `{"auths":{"r.example.com":{"auth":"` + b64("ada:"+secret) + `"}}}`},
		},
		"Port": {
			reason: "A port is part of the host.",
			args:   args{host: "r.example.com:5000", config: `{"auths":{"r.example.com":` + theirs + `,"r.example.com:5000":` + mine + `}}`},
			want:   want{Config: `{"auths":{"r.example.com:5000":` + mine + `}}`},
		},
		"URL": {
			reason: "An entry for a URL gets the host's plain name.",
			args:   args{host: "r.example.com", config: `{"auths":{"https://r.example.com/v2/":` + mine + `}}`},
			want:   want{Config: `{"auths":{"r.example.com":` + mine + `}}`},
		},
		"DockerHub": {
			reason: "Docker Hub's keeps the one that every tool knows.",
			args:   args{host: "docker.io", config: `{"auths":{"https://index.docker.io/v1/":` + mine + `}}`},
			want:   want{Config: `{"auths":{"https://index.docker.io/v1/":` + mine + `}}`},
		},
		"Unknown": {
			reason: "What this program does not know of an entry is kept.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":{"auth":"` + b64("ada:"+secret) + `","email":"ada@example.com"}}}`},
			want:   want{Config: `{"auths":{"r.example.com":{"auth":"` + b64("ada:"+secret) + `","email":"ada@example.com"}}}`},
		},
		"OtherBroken": {
			reason: "What is wrong with another entry does not matter.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":` + mine + `,"y":7}}`},
			want:   want{Config: `{"auths":{"r.example.com":` + mine + `}}`},
		},
		"Repository": {
			reason: "An entry for a repository gets the host's plain name.",
			args:   args{host: "r.example.com", repository: "team/x", config: `{"auths":{"r.example.com/team":` + mine + `,"r.example.com":` + theirs + `}}`},
			want:   want{Config: `{"auths":{"r.example.com":` + mine + `}}`},
		},
		"Wildcard": {
			reason: "So does one for many hosts.",
			args:   args{host: "r.example.com", repository: "team/x", config: `{"auths":{"*.example.com":` + mine + `,"*.example.org":` + theirs + `}}`},
			want:   want{Config: `{"auths":{"r.example.com":` + mine + `}}`},
		},
		"OtherRepository": {
			reason: "An entry for another repository is of no use.",
			args:   args{host: "r.example.com", repository: "models/x", config: `{"auths":{"r.example.com/team":` + theirs + `}}`},
			want:   want{Reason: outcome.Unauthorized},
		},
		"None": {
			reason: "A config without an entry for the host is of no use.",
			args:   args{host: "r.example.com", config: `{"auths":{"x.example.com":` + theirs + `}}`},
			want:   want{Reason: outcome.Unauthorized},
		},
		"Suffix": {
			reason: "A host whose name ends alike is another.",
			args:   args{host: "example.com", config: `{"auths":{"r.example.com":` + theirs + `}}`},
			want:   want{Reason: outcome.Unauthorized},
		},
		"EmptyEntry": {
			reason: "An entry that holds nothing is none.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":{},"x.example.com":` + theirs + `}}`},
			want:   want{Reason: outcome.Unauthorized},
		},
		"Empty": {
			reason: "Nor is nothing of any.",
			args:   args{host: "r.example.com"},
			want:   want{Reason: outcome.Unauthorized},
		},
		"NoJSON": {
			reason: "What is no config is told.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":{"password":"` + secret},
			want:   want{Reason: outcome.Unauthorized},
		},
		"NoEntry": {
			reason: "So is an entry that is none.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":"` + secret + `"}}`},
			want:   want{Reason: outcome.Unauthorized},
		},
		"NoBase64": {
			reason: "So is one that cannot be decoded.",
			args:   args{host: "r.example.com", config: `{"auths":{"r.example.com":{"auth":"ada:` + secret + `"}}}`},
			want:   want{Reason: outcome.Unauthorized},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			out, err := DockerConfigFor([]byte(tc.args.config), tc.args.host, tc.args.repository)
			if diff := cmp.Diff(tc.want, want{Config: string(out), Reason: reasonOf(err)}); diff != "" {
				t.Errorf("\n%s\nDockerConfigFor(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "x.example.com") || strings.Contains(err.Error(), "bob")) {
				t.Errorf("\n%s\nDockerConfigFor(...): the error echoes the config: %v", tc.reason, err)
			}
		})
	}
}

// TestEntries holds the order of entries against the one that Kubernetes takes
// them in.
func TestEntries(t *testing.T) {
	type args struct {
		host, repository string
		names            []string
	}
	cases := map[string]struct {
		reason string
		args   args
		want   []string
	}{
		"Host": {
			reason: "An entry for a host is for all its repositories.",
			args:   args{host: "r.example.com", repository: "team/x", names: []string{"r.example.com", "s.example.com", "example.com"}},
			want:   []string{"r.example.com"},
		},
		"Longest": {
			reason: "The longest path is the most specific.",
			args:   args{host: "r.example.com", repository: "team/models/x", names: []string{"r.example.com", "r.example.com/team/models", "r.example.com/team", "r.example.com/other"}},
			want:   []string{"r.example.com/team/models", "r.example.com/team", "r.example.com"},
		},
		"WholeRepository": {
			reason: "It may be the repository itself, and end with a slash.",
			args:   args{host: "r.example.com", repository: "team/x", names: []string{"r.example.com/team/x", "r.example.com/team/", "r.example.com/team/x/y"}},
			want:   []string{"r.example.com/team/x", "r.example.com/team/"},
		},
		"Prefix": {
			reason: "Kubernetes takes the beginning of a part, too; what is for whole parts is better.",
			args:   args{host: "r.example.com", repository: "team-b/x", names: []string{"r.example.com/team", "r.example.com", "*.example.com"}},
			want:   []string{"r.example.com", "r.example.com/team", "*.example.com"},
		},
		"HostOnly": {
			reason: "Without a repository no path is taken.",
			args:   args{host: "r.example.com", names: []string{"r.example.com/team", "r.example.com"}},
			want:   []string{"r.example.com"},
		},
		"Wildcards": {
			reason: "Wildcards are for one part each, and less specific than the host.",
			args: args{host: "r.eu.example.com", repository: "team/x", names: []string{
				"*.eu.example.com", "r.*.example.com", "r*.eu.example.com", "*.example.com", "*", "*.*.*.*", "r.eu.example.com", "[a-r].eu.example.com",
			}},
			want: []string{"r.eu.example.com", "r.*.example.com", "r*.eu.example.com", "[a-r].eu.example.com", "*.eu.example.com", "*.*.*.*"},
		},
		"WildcardPath": {
			reason: "A path is compared after them.",
			args:   args{host: "r.example.com", repository: "team/x", names: []string{"*.example.com", "*.example.com/team", "*.example.com/other"}},
			want:   []string{"*.example.com/team", "*.example.com"},
		},
		"Port": {
			reason: "A port must be the same, with wildcards too.",
			args:   args{host: "r.example.com:5000", repository: "x", names: []string{"r.example.com", "*.example.com", "*.example.com:5000", "r.example.com:5000", "r.example.com:*"}},
			want:   []string{"r.example.com:5000", "*.example.com:5000"},
		},
		"Scheme": {
			reason: "A scheme and the API's version are none of the name; the plain host comes first.",
			args:   args{host: "r.example.com", repository: "team/x", names: []string{"https://r.example.com/v2/", "https://r.example.com", "r.example.com", "http://r.example.com/v1/team"}},
			want:   []string{"http://r.example.com/v1/team", "r.example.com", "https://r.example.com", "https://r.example.com/v2/"},
		},
		"BadPattern": {
			reason: "A pattern that is none is for nothing.",
			args:   args{host: "r.example.com", repository: "x", names: []string{"[.example.com", "", "/", "https://"}},
		},
		"DockerHub": {
			reason: "Docker Hub's own name comes first.",
			args:   args{host: "docker.io", repository: "org/x", names: []string{"https://index.docker.io/v1/", "docker.io", "*.docker.io", "docker.io/org"}},
			want:   []string{"docker.io/org", "docker.io", "https://index.docker.io/v1/", "*.docker.io"},
		},
		"Address": {
			reason: "An address has no parts for wildcards that it does not have.",
			args:   args{host: "[::1]:5000", repository: "x", names: []string{"[::1]:5000", "*:5000"}},
			want:   []string{"[::1]:5000", "*:5000"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			auths := map[string]json.RawMessage{}
			for _, n := range tc.args.names {
				auths[n] = json.RawMessage(`{}`)
			}
			var got []string
			for _, e := range entriesFor(tc.args.host, tc.args.repository, auths) {
				got = append(got, e.name)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nentriesFor(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func hostOr(host string) string {
	if host == "" {
		return "r.example.com"
	}
	return host
}

func TestIsPlain(t *testing.T) {
	const auth = `{"username":"ada","password":"x"}`
	cases := map[string]struct {
		reason string
		args   string
		host   string
		want   bool
	}{
		"Plain":      {reason: "As kubectl writes it.", args: `{"auths":{"r.example.com":` + auth + `}}`, want: true},
		"PlainToo":   {reason: "What is for others does not matter.", args: `{"auths":{"r.example.com":` + auth + `,"*.example.com":` + auth + `}}`, want: true},
		"Path":       {reason: "A better one has another name.", args: `{"auths":{"r.example.com":` + auth + `,"r.example.com/team":` + auth + `}}`},
		"Wildcard":   {reason: "Kit knows no wildcards.", args: `{"auths":{"*.example.com":` + auth + `}}`},
		"URL":        {reason: "A URL is not the plain host.", args: `{"auths":{"https://r.example.com/v1/":` + auth + `}}`},
		"EmptyPlain": {reason: "An empty entry is none.", args: `{"auths":{"r.example.com":{},"*.example.com":` + auth + `}}`},
		"DockerHub":  {reason: "Docker Hub's name is known to all.", host: "docker.io", args: `{"auths":{"https://index.docker.io/v1/":` + auth + `}}`, want: true},
		"Nothing":    {reason: "What is not there needs no other name.", args: `{"auths":{"s.example.com":` + auth + `}}`, want: true},
		"Broken":     {reason: "Nor does what cannot be read.", args: `{"auths":`, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsPlain([]byte(tc.args), hostOr(tc.host), "team/x"); got != tc.want {
				t.Errorf("\n%s\nIsPlain(...): want %t, got %t", tc.reason, tc.want, got)
			}
		})
	}
}

func TestEntriesForHost(t *testing.T) {
	cases := map[string]struct {
		reason string
		host   string
		config string
		want   string
	}{
		"Others": {
			reason: "Entries of other hosts, and all else, are left out.",
			host:   "r.example.com",
			config: `{"auths":{"r.example.com":{"auth":"YTpi"},"x.example.com":{"auth":"YTpj"},"r.example.com:5000":{"auth":"YTpk"}},"credsStore":"evil"}`,
			want:   `{"auths":{"r.example.com":{"auth":"YTpi"}}}`,
		},
		"Repositories": {
			reason: "Those for repositories of the host, and for many hosts, stay under their own names.",
			host:   "r.example.com",
			config: `{"auths":{"*.example.com":{"auth":"YTpi"},"https://r.example.com/v2/team":{"auth":"YTpj"},"r.example.com/models":{"auth":"YTpk"}}}`,
			want:   `{"auths":{"*.example.com":{"auth":"YTpi"},"https://r.example.com/v2/team":{"auth":"YTpj"},"r.example.com/models":{"auth":"YTpk"}}}`,
		},
		"DockerHub": {
			reason: "Docker Hub has several names.",
			host:   "docker.io",
			config: `{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}`,
			want:   `{"auths":{"https://index.docker.io/v1/":{"auth":"YTpi"}}}`,
		},
		"None":       {reason: "There may be none.", host: "r.example.com", config: `{"auths":{"x.example.com":{"auth":"YTpi"}}}`, want: `{"auths":{}}`},
		"Empty":      {reason: "No config stays none.", host: "r.example.com"},
		"Unreadable": {reason: "What cannot be read stays as it is.", host: "r.example.com", config: `{`, want: `{`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, string(EntriesForHost([]byte(tc.config), tc.host))); diff != "" {
				t.Errorf("\n%s\nEntriesForHost(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}
