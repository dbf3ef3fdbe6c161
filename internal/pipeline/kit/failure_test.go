package kit

import (
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

func TestKitReason(t *testing.T) {
	cases := map[string]struct {
		reason string
		stderr string
		want   outcome.Reason
	}{
		"Download401": {
			reason: "A refused download should be Unauthorized.",
			stderr: "[ERROR] Error downloading repository: received status code 401 when downloading file a.bin from https://huggingface.co/o/m/resolve/c/a.bin",
			want:   outcome.Unauthorized,
		},
		"List404": {
			reason: "A missing model should be NotFound.",
			stderr: "[ERROR] Failed to list files from HuggingFace API: got error code 404 from API: Repository not found",
			want:   outcome.NotFound,
		},
		"Revision429": {
			reason: "An error of the revision lookup should be recognised, as newer kits print it.",
			stderr: "[ERROR] revision lookup got status 429",
			want:   outcome.RateLimited,
		},
		"Push403": {
			reason: "A registry that forbids the push should be Unauthorized.",
			stderr: "[ERROR] Failed to push: got response 403 (Forbidden) from remote",
			want:   outcome.Unauthorized,
		},
		"PushToken": {
			reason: "A registry's error code in words should be recognised.",
			stderr: "[ERROR] Failed to push: failed to copy to remote: unauthorized: authentication required.",
			want:   outcome.Unauthorized,
		},
		"Push413": {
			reason: "A proxy that refuses large bodies should be NoSpace.",
			stderr: "[ERROR] Failed to push: failed to copy to remote: PUT \"https://r.example.com/v2/\": response status code 413: Request Entity Too Large.",
			want:   outcome.NoSpace,
		},
		"Push502": {
			reason: "A gateway's error should be transient.",
			stderr: "[ERROR] unexpected response code from remote registry: 502 Bad Gateway",
			want:   outcome.Unavailable,
		},
		"DiskFull": {
			reason: "A full disk should be told, whatever else there is.",
			stderr: "[ERROR] Failed to pack ModelKit: write /w/kitops/cache/pack/kitops_layer_1: no space left on device\n[ERROR] received status code 500 when tidying up",
			want:   outcome.NoSpace,
		},
		"LostDiskFull": {
			reason: "A full disk should be recognised though kit loses the error.",
			stderr: "[ERROR] Failed to pack ModelKit: failed to stat temporary file: stat /w/x: use of closed file",
			want:   outcome.NoSpace,
		},
		"Timeout": {
			reason: "A timeout of a listing should be transient.",
			stderr: "[ERROR] error calling API: Get \"https://huggingface.co/api/models/o/m/tree/c\": context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
			want:   outcome.Unavailable,
		},
		"Cut": {
			reason: "A broken connection should be transient.",
			stderr: "[ERROR] Error downloading repository: failed to write file: unexpected EOF",
			want:   outcome.Unavailable,
		},
		"Short": {
			reason: "A truncated file should be transient.",
			stderr: "[ERROR] Error downloading repository: mismatched file size: expected 10 but got 9",
			want:   outcome.Unavailable,
		},
		"Certificate": {
			reason: "An untrusted certificate should be permanent.",
			stderr: "[ERROR] Failed to push: Head \"https://r.example.com/v2/\": tls: failed to verify certificate: x509: certificate signed by unknown authority",
			want:   outcome.Untrusted,
		},
		"NoTLS": {
			reason: "A registry without TLS should be Untrusted.",
			stderr: "[ERROR] Failed to push: Head \"https://r.example.com/v2/\": http: server gave HTTP response to HTTPS client",
			want:   outcome.Untrusted,
		},
		"Quota": {
			reason: "A quota of Harbor that is exceeded should be NoSpace.",
			stderr: "[ERROR] Failed to push: PUT \"https://r.example.com/v2/\": response status code 403: denied: adding 1 GiB of storage resource will exceed the configured upper limit",
			want:   outcome.NoSpace,
		},
		"ExceededTime": {
			reason: "An exceeded deadline should not be taken for a quota.",
			stderr: "[ERROR] Failed to push: response status code 500: unknown: context deadline exceeded (Client.Timeout exceeded while awaiting headers)",
			want:   outcome.Unavailable,
		},
		"MediaType": {
			reason: "A media type that GitLab refuses should be Unsupported.",
			stderr: "[ERROR] Failed to push: response status code 400: manifest invalid: unknown media type",
			want:   outcome.Unsupported,
		},
		"WordInWord": {
			reason: "A part of a word should not match.",
			stderr: "[ERROR] Failed to read Kitfile: unknown field typeof",
			want:   outcome.Internal,
		},
		"WordInName": {
			reason: "A word in a quoted name should not match.",
			stderr: "[ERROR] Failed to pack ModelKit: cannot use \"unauthorized/timeout/model.bin\"",
			want:   outcome.Internal,
		},
		"Else": {
			reason: "An unknown message should be Internal.",
			stderr: "[ERROR] Failed to read Kitfile",
			want:   outcome.Internal,
		},
		"NumberInName": {
			reason: "A number in a file's name should not be taken for a status.",
			stderr: "[ERROR] Failed to pack ModelKit: cannot use checkpoint-404/model.bin",
			want:   outcome.Internal,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := reasonOf(strings.Split(tc.stderr, "\n")); got != tc.want {
				t.Errorf("\n%s\nkitReason(...): want %s, got %s", tc.reason, tc.want, got)
			}
		})
	}
}

func TestFailed(t *testing.T) {
	run := pipeline.Run{
		Source: pipeline.Source{Model: "org/model"},
		Target: pipeline.Target{Registry: "registry.example.com", Repository: "models/m", StagingTag: stagingTag},
	}
	type want struct {
		reason outcome.Reason
		parts  []string
		not    string
	}
	cases := map[string]struct {
		reason string
		step   string
		stderr []string
		want   want
	}{
		"UnknownFlag": {
			reason: "An unknown flag should be TooOld, with the cure.",
			step:   "pack",
			stderr: []string{"Error: unknown flag: --layer-format", "Usage:", "  kit pack [flags] DIRECTORY"},
			want:   want{reason: outcome.TooOld, parts: []string{"--layer-format", "--kit-image", "job.kitImage"}},
		},
		"DroppedFile": {
			reason: "A file that kit did not see should be named, with the way out.",
			step:   "import",
			stderr: []string{"[ERROR] Failed to pack ModelKit: error processing modelpart: path voices/7.bin does not exist"},
			want:   want{reason: outcome.Mismatch, parts: []string{"voices/7.bin", "Stream"}},
		},
		"Push": {
			reason: "A refused push should name registry, repository and cure.",
			step:   "push",
			stderr: []string{"[ERROR] Failed to push: got response 401 (Unauthorized) from remote."},
			want:   want{reason: outcome.Unauthorized, parts: []string{"registry.example.com", "models/m", "credentials"}},
		},
		"Import": {
			reason: "A refused import should name the model and the token.",
			step:   "import",
			stderr: []string{"[ERROR] got error code 401 from API: Invalid"},
			want:   want{reason: outcome.Unauthorized, parts: []string{"org/model", "tokenSecretRef"}},
		},
		"Untrusted": {
			reason: "A registry that is not trusted should be named, with where its authority goes.",
			step:   "push",
			stderr: []string{"[ERROR] Failed to push: tls: failed to verify certificate: x509: certificate signed by unknown authority"},
			want:   want{reason: outcome.Untrusted, parts: []string{"registry.example.com", "certSecretRef", "unknown authority"}},
		},
		"Full": {
			reason: "A full workspace should name the setting.",
			step:   "unpack",
			stderr: []string{"[ERROR] write x: no space left on device"},
			want:   want{reason: outcome.NoSpace, parts: []string{"spec.forProvider.storage.size"}},
		},
		"Panic": {
			reason: "Of a crash, the first line should be told.",
			step:   "push",
			stderr: []string{"panic: runtime error: invalid memory address", "goroutine 22 [running]:", "errgroup.go:78 +0x95"},
			want:   want{reason: outcome.Internal, parts: []string{"kit push", "invalid memory address"}, not: "errgroup"},
		},
		"Secret": {
			reason: "No secret should get into a message, and no signature.",
			step:   "import",
			stderr: []string{"[ERROR] Get https://cdn.example.com/x?sig=abcdef: bad token hf_secret"},
			want:   want{reason: outcome.Internal, parts: []string{"cdn.example.com/x?***", "bad token ***"}, not: "abcdef"},
		},
		"Long": {
			reason: "A message should have an end.",
			step:   "import",
			stderr: []string{"[ERROR] " + strings.Repeat("ä", 5000)},
			want:   want{reason: outcome.Internal, parts: []string{"ä…"}, not: strings.Repeat("ä", maxQuoted)},
		},
		"Silence": {
			reason: "A command without output should give an error, too.",
			step:   "import",
			want:   want{reason: outcome.Internal, parts: []string{"kit import failed"}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			r := &task{run: run, log: newRunLog(nil, []string{"hf_secret"})}
			err := r.failed(tc.step, tc.stderr)
			if err.Reason != tc.want.reason {
				t.Errorf("\n%s\nfailed(...): want reason %s, got %s", tc.reason, tc.want.reason, err.Reason)
			}
			for _, p := range tc.want.parts {
				if !strings.Contains(err.Error(), p) {
					t.Errorf("\n%s\nfailed(...): want %q in: %s", tc.reason, p, err)
				}
			}
			if tc.want.not != "" && strings.Contains(err.Error(), tc.want.not) {
				t.Errorf("\n%s\nfailed(...): want no %q in: %s", tc.reason, tc.want.not, err)
			}
		})
	}
}
