package registry

import (
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
		config string
		host   string
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
			reason: "So does Docker Hub's, which has another.",
			args:   args{host: "docker.io", config: `{"auths":{"https://index.docker.io/v1/":` + mine + `}}`},
			want:   want{Config: `{"auths":{"docker.io":` + mine + `}}`},
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
			out, err := DockerConfigFor([]byte(tc.args.config), tc.args.host)
			if diff := cmp.Diff(tc.want, want{Config: string(out), Reason: reasonOf(err)}); diff != "" {
				t.Errorf("\n%s\nDockerConfigFor(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && (strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "x.example.com") || strings.Contains(err.Error(), "bob")) {
				t.Errorf("\n%s\nDockerConfigFor(...): the error echoes the config: %v", tc.reason, err)
			}
		})
	}
}
