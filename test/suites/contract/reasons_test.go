package contract

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline/kit"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

func wantReason(t *testing.T, err error, want outcome.Reason) {
	t.Helper()
	if err == nil {
		t.Fatalf("want reason %s, got no error", want)
	}
	if got := outcome.ReasonOf(err); got != want {
		t.Errorf("want reason %s, got %s: %s", want, got, err)
	}
	if strings.Contains(err.Error(), "\n") || len(err.Error()) > 600 {
		t.Errorf("the error is no message for a condition: %s", err)
	}
}

func TestTLS(t *testing.T) {
	model := addModel(t, map[string]string{"model.onnx": "weights of " + t.Name()})
	run := newRun(t, model, pipeline.FormatModelKit)
	run.Target.Registry, run.Target.PlainHTTP = suite.world.secure.host, false
	run.Target.DockerConfig = dockerConfig(t, suite.world.secure.host, password)

	_, _, err := runKit(t.Context(), t, run)
	wantReason(t, err, outcome.Untrusted)

	run.Target.CAFile = suite.world.caFile
	if _, _, err := runKit(t.Context(), t, run); err != nil {
		t.Errorf("with the registry's authority: %v", err)
	}
}

func TestToken(t *testing.T) {
	const token = "hf_kept_from_all_logs"
	model := addModel(t, map[string]string{
		"hub.json": `{"gated": "manual", "tokens": ["` + token + `"]}`,
		// Large enough for LFS, so that the Hub masks its hash.
		"model.onnx": strings.Repeat("gated weights", 100),
	})
	run := newRun(t, model, pipeline.FormatModelKit)
	_, _, err := runKit(t.Context(), t, run)
	wantReason(t, err, outcome.Gated)

	run.Source.TokenFile = tokenFile(t, "hf_of_somebody_else")
	_, _, err = runKit(t.Context(), t, run)
	wantReason(t, err, outcome.Gated)

	run.Source.TokenFile = tokenFile(t, token)
	got, log, err := runKit(t.Context(), t, run)
	if err != nil || got.Digest == "" {
		t.Fatalf("with a token that is let in: %v", err)
	}
	if strings.Contains(log, token) {
		t.Error("the log shows the token")
	}
	if !strings.Contains(log, "--token ***") {
		t.Error("the log does not show that a token was given")
	}
}

// tokenFile returns a file with a token, as a run has it; none for an empty one.
func tokenFile(t *testing.T, token string) string {
	t.Helper()
	if token == "" {
		return ""
	}
	path := filepath.Join(t.TempDir(), "hub-token")
	if err := os.WriteFile(path, []byte(token+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestReasons checks that a failure is told for what it is.
func TestReasons(t *testing.T) {
	model := addModel(t, map[string]string{"model.onnx": "some weights", "config.json": "{}"})
	download := hub.On("/resolve/")
	cases := map[string]struct {
		reason string
		change func(*testing.T, *pipeline.Run)
		want   outcome.Reason
	}{
		"WrongPassword": {
			reason: "A wrong password should be told.",
			change: func(t *testing.T, r *pipeline.Run) {
				t.Helper()
				r.Target.DockerConfig = dockerConfig(t, r.Target.Registry, "wrong")
			},
			want: outcome.Unauthorized,
		},
		"NoPassword": {
			reason: "No credentials, where some are wanted, should be told.",
			change: func(_ *testing.T, r *pipeline.Run) { r.Target.DockerConfig = "" },
			want:   outcome.Unauthorized,
		},
		"UnknownModel": {
			reason: "A model that is not there should be told.",
			change: func(_ *testing.T, r *pipeline.Run) { r.Source.Model = "test-org/none" },
			want:   outcome.NotFound,
		},
		"UnknownRevision": {
			reason: "A revision that is not there should be told.",
			change: func(_ *testing.T, r *pipeline.Run) { r.Source.Revision = "v9" },
			want:   outcome.NotFound,
		},
		"OtherEndpoint": {
			reason: "Another Hub should be refused.",
			change: func(_ *testing.T, r *pipeline.Run) { r.Source.Endpoint = "https://mirror.example.com" },
			want:   outcome.Unsupported,
		},
		"RateLimited": {
			reason: "Kit does not try again, and its 429 should be told as one.",
			change: func(t *testing.T, _ *pipeline.Run) {
				t.Helper()
				harm(t, afterFirst(download, hub.Status(http.StatusTooManyRequests, nil)))
			},
			want: outcome.RateLimited,
		},
		"HubFails": {
			reason: "A failing Hub should be transient.",
			change: func(t *testing.T, _ *pipeline.Run) {
				t.Helper()
				harm(t, afterFirst(download, hub.Status(http.StatusBadGateway, nil)))
			},
			want: outcome.Unavailable,
		},
		"CutShort": {
			reason: "A connection that breaks in a file should be transient.",
			change: func(t *testing.T, _ *pipeline.Run) {
				t.Helper()
				harm(t, afterFirst(download, hub.Truncate(1)))
			},
			want: outcome.Unavailable,
		},
		"OtherBytes": {
			reason: "A wrong byte should be found by the pipeline, since kit checks no hash.",
			change: func(t *testing.T, _ *pipeline.Run) {
				t.Helper()
				harm(t, afterFirst(download, hub.Corrupt(1)))
			},
			want: outcome.Mismatch,
		},
		"PushForbidden": {
			reason: "An account that may not push should be told so.",
			change: func(t *testing.T, _ *pipeline.Run) {
				t.Helper()
				refuse(t, suite.world.plain, onManifests(http.StatusForbidden))
			},
			want: outcome.Unauthorized,
		},
		"TooLarge": {
			reason: "A registry, or a proxy before it, that refuses a large blob should be NoSpace.",
			change: func(t *testing.T, _ *pipeline.Run) {
				t.Helper()
				refuse(t, suite.world.plain, onManifests(http.StatusRequestEntityTooLarge))
			},
			want: outcome.NoSpace,
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			run := newRun(t, model, pipeline.FormatModelKit)
			tc.change(t, &run)
			_, _, err := runKit(t.Context(), t, run)
			wantReason(t, err, tc.want)
		})
	}
}

// TestPasswordComesFirst: a large model should not be downloaded for nothing.
func TestPasswordComesFirst(t *testing.T) {
	run := newRun(t, addModel(t, map[string]string{"model.onnx": "weights", "config.json": "{}"}), pipeline.FormatModelKit)
	run.Target.DockerConfig = dockerConfig(t, run.Target.Registry, "wrong")
	if n := downloads(t, run); n > 1 {
		t.Errorf("%d files were downloaded for a registry that refuses the password", n)
	}
}

// afterFirst lets one request pass, that by which the pipeline itself tries
// whether files can be read, and harms those after it.
func afterFirst(match hub.Match, f hub.Fault) hub.Fault {
	var passed atomic.Bool
	return hub.Times(1_000, func(r *http.Request) bool { return match(r) && passed.Swap(true) }, f)
}

func onManifests(status int) func(*http.Request) int {
	return func(r *http.Request) int {
		if r.Method == http.MethodPut && strings.Contains(r.URL.Path, "/manifests/") {
			return status
		}
		return 0
	}
}

// TestTooOld asks kits for what they are too old for.
func TestTooOld(t *testing.T) {
	program := suite.kit
	if kitHas("v1.10.0") {
		var err error
		if program, err = buildStandIn(t.Context(), filepath.Join(t.TempDir(), "kit"), "1.9.0"); err != nil {
			t.Fatal(err)
		}
		t.Log("this kit is not too old for anything; asking the stand-in, stamped 1.9.0")
	}
	run := newRun(t, addModel(t, map[string]string{"model.onnx": "weights"}), pipeline.FormatModelPack)
	_, err := kit.New(kit.WithPath(program)).Run(t.Context(), run)
	wantReason(t, err, outcome.TooOld)
	for _, part := range []string{"1.10.0", "--kit-image", "job.kitImage"} {
		if err != nil && !strings.Contains(err.Error(), part) {
			t.Errorf("the error does not name %s: %s", part, err)
		}
	}

	_, err = kit.New(kit.WithPath("/nowhere/kit")).Run(t.Context(), run)
	wantReason(t, err, outcome.TooOld)
}
