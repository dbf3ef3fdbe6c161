package hub

import (
	"bytes"
	"context"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/download"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

func TestNew(t *testing.T) {
	cases := map[string]struct {
		reason   string
		endpoint string
		want     outcome.Reason
	}{
		"Default":  {reason: "The public Hub needs no endpoint."},
		"Mirror":   {reason: "A mirror may have a path.", endpoint: "https://mirror.example.com/api/huggingface/"},
		"NoScheme": {reason: "A host alone is no URL.", endpoint: "huggingface.co", want: outcome.Unsupported},
		"File":     {reason: "Only HTTP is spoken.", endpoint: "file:///etc/passwd", want: outcome.Unsupported},
		"Password": {reason: "A password in a URL ends up in logs.", endpoint: "https://a:b@huggingface.co", want: outcome.Unsupported},
		"Query":    {reason: "A query cannot have paths appended.", endpoint: "https://huggingface.co?a=b", want: outcome.Unsupported},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := New(Options{Endpoint: tc.endpoint})
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" {
				t.Errorf("\n%s\nNew(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestValuesOfPeople checks that what tools leave around a value does no harm,
// and that what cannot be used is reported as such, and not as the network's
// fault.
func TestValuesOfPeople(t *testing.T) {
	_, c := serve(t, "")
	endpoint := c.base.String()
	cases := map[string]struct {
		reason  string
		options Options
		want    outcome.Reason
		says    string
	}{
		"Plain":    {reason: "A token alone opens the model.", options: Options{Endpoint: endpoint, Token: "hf_in"}},
		"Newline":  {reason: "So does one that echo wrote.", options: Options{Endpoint: endpoint + "\n", Token: "hf_in\n"}},
		"CRLF":     {reason: "So does one from Windows.", options: Options{Endpoint: endpoint, Token: "\uFEFFhf_in\r\n"}},
		"Space":    {reason: "So does one that was pasted.", options: Options{Endpoint: endpoint, Token: " hf_in "}},
		"Nothing":  {reason: "White space alone is no token.", options: Options{Endpoint: endpoint, Token: "\n"}, want: outcome.NotFound, says: "name a Secret with a token"},
		"TwoLines": {reason: "Two lines are no token.", options: Options{Endpoint: endpoint, Token: "hf_in\nhf_out"}, want: outcome.ConfigInvalid, says: "tokenSecretRef"},
		"Control":  {reason: "Nor is what no header may have.", options: Options{Endpoint: endpoint, Token: "hf_\x00in"}, want: outcome.ConfigInvalid, says: "tokenSecretRef"},
		"NoPEM":    {reason: "An authority is a certificate.", options: Options{Endpoint: endpoint, Token: "hf_in", CA: []byte("hf_in\n")}, want: outcome.ConfigInvalid, says: "certSecretRef"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			c, err := New(tc.options)
			if err == nil {
				_, err = c.Resolve(t.Context(), "org/private", "main")
			}
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && (!strings.Contains(err.Error(), tc.says) || strings.Contains(err.Error(), "hf_")) {
				t.Errorf("\n%s\nwant %q and no value, got %v", tc.reason, tc.says, err)
			}
		})
	}
}

// TestBadRequest checks that a request which cannot be sent is not reported as
// the network's fault.
func TestBadRequest(t *testing.T) {
	_, c := serve(t, "")
	c.userAgent = "a\nb"
	tried := 0
	c.retry.Sleep = func(context.Context, time.Duration) error { tried++; return nil }
	if _, err := c.Resolve(t.Context(), "org/open", "main"); reasonOf(err) != outcome.Internal || tried != 0 {
		t.Errorf("want Internal at once, got %v after %d more tries", err, tried)
	}
}

func TestResolve(t *testing.T) {
	type args struct {
		model, revision, token string
	}
	type want struct {
		license string
		reason  outcome.Reason
		message string // A part of it.
	}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"Branch":           {reason: "A branch is resolved.", args: args{"org/open", "main", ""}, want: want{license: "Apache-2.0"}},
		"Default":          {reason: "No revision is main.", args: args{"org/open", "", ""}, want: want{license: "Apache-2.0"}},
		"PullRequest":      {reason: "A revision's slashes are escaped.", args: args{"org/open", "refs/pr/1", ""}, want: want{}},
		"NoLicense":        {reason: "A model may name no licence.", args: args{"org/nolicense", "main", ""}, want: want{}},
		"Licenses":         {reason: "A model may name several licences.", args: args{"org/licenses", "main", ""}, want: want{license: "CC-BY-SA-3.0 AND LicenseRef-gfdl"}},
		"OddLicense":       {reason: "What is no licence's name is none.", args: args{"org/oddlicense", "main", ""}, want: want{}},
		"Gated":            {reason: "All may ask what a gated model is.", args: args{"org/gated", "main", ""}, want: want{}},
		"Private":          {reason: "A token opens a private model.", args: args{"org/private", "main", "hf_in"}, want: want{}},
		"PrivateAnonymous": {reason: "Without a token, both causes are named.", args: args{"org/private", "main", ""}, want: want{reason: outcome.NotFound, message: "is private"}},
		"NotLetIn":         {reason: "With one, too.", args: args{"org/private", "main", "hf_out"}, want: want{reason: outcome.NotFound, message: "the token may not read it"}},
		"Missing":          {reason: "The cure is named.", args: args{"org/none", "main", ""}, want: want{reason: outcome.NotFound, message: "tokenSecretRef"}},
		"BadToken":         {reason: "A refused token is not a missing model.", args: args{"org/open", "main", "sesame"}, want: want{reason: outcome.Unauthorized, message: "refused the token"}},
		"NoRevision":       {reason: "The revision is named.", args: args{"org/open", "v9 #", ""}, want: want{reason: outcome.NotFound, message: `"v9 #"`}},
		"NoName":           {reason: "No name can lead a request elsewhere.", args: args{"../../x", "main", ""}, want: want{reason: outcome.NotFound, message: "organisation/name"}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, c := serve(t, tc.args.token)
			rev, err := c.Resolve(t.Context(), tc.args.model, tc.args.revision)
			got := want{license: rev.License, reason: reasonOf(err), message: tc.want.message}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nResolve(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err == nil && (len(rev.Commit) != 40 || rev.LastModified.IsZero()) {
				t.Errorf("\n%s\nResolve(...): want a commit and its date, got %+v", tc.reason, rev)
			}
			if err != nil && !strings.Contains(err.Error(), tc.want.message) {
				t.Errorf("\n%s\nResolve(...): want an error with %q, got %q", tc.reason, tc.want.message, err)
			}
			if tc.args.token != "" && err != nil && strings.Contains(err.Error(), tc.args.token) {
				t.Errorf("Resolve(...): the token is in the error %q", err)
			}
		})
	}
}

func TestCommitDate(t *testing.T) {
	type want struct {
		dated  bool
		reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		fault  testhub.Fault
		want   want
	}{
		"NoSuchAPI": {reason: "A mirror without it still serves models.", fault: testhub.Status(404, nil), want: want{}},
		"Forbidden": {reason: "A Hub may keep it to itself.", fault: testhub.Status(403, nil), want: want{}},
		"Failing":   {reason: "That it fails now must not change what is made of the model.", fault: testhub.Status(503, nil), want: want{reason: outcome.Unavailable}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, c := serve(t, "")
			h.SetFault(testhub.Times(100, testhub.On("/commits/"), tc.fault))
			rev, err := c.Resolve(t.Context(), "org/open", "main")
			got := want{dated: !rev.LastModified.IsZero(), reason: reasonOf(err)}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nResolve(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOpen(t *testing.T) {
	h, c := serve(t, "hf_in", testhub.WithCDN("localhost"))
	rev, err := c.Resolve(t.Context(), "org/private", "main")
	if err != nil {
		t.Fatal(err)
	}
	h.ResetRequests()
	rc, err := c.Open(t.Context(), "org/private", rev.Commit, "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(rc)
	if err != nil || !bytes.Equal(got, weight) {
		t.Errorf("want the file's bytes, got %d, %v", len(got), err)
	}
	if err := rc.Close(); err != nil {
		t.Error(err)
	}
	asked := h.Requests()
	if len(asked) != 2 || !asked[0].Authorization || asked[1].Authorization || asked[1].AcceptEncoding != "identity" {
		t.Errorf("want the token at the Hub and not at the CDN, got %+v", asked)
	}
}

func TestOpenErrors(t *testing.T) {
	cases := map[string]struct {
		reason  string
		model   string
		path    string
		token   string
		want    outcome.Reason
		message string
	}{
		"Odd":            {reason: "A path may hold anything.", model: "org/open", path: odd},
		"GatedAnonymous": {reason: "The terms' address is named.", model: "org/gated", path: "config.json", want: outcome.Gated, message: "/org/gated"},
		"Gated":          {reason: "The account is named.", model: "org/gated", path: "config.json", token: "hf_out", want: outcome.Gated, message: "account of the token"},
		"LetIn":          {reason: "The owner let this token in.", model: "org/gated", path: "config.json", token: "hf_in"},
		"NoFile":         {reason: "The file is named.", model: "org/open", path: "x/none.bin", want: outcome.NotFound, message: `"x/none.bin"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, c := serve(t, tc.token)
			rc, err := c.Open(t.Context(), tc.model, "main", tc.path)
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" {
				t.Fatalf("\n%s\nOpen(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && !strings.Contains(err.Error(), tc.message) {
				t.Errorf("\n%s\nOpen(...): want an error with %q, got %q", tc.reason, tc.message, err)
			}
			if err == nil {
				_ = rc.Close()
			}
		})
	}
}

func TestBrokenStream(t *testing.T) {
	h, c := serve(t, "")
	h.SetFault(testhub.Times(1, testhub.On("/cdn/"), testhub.Truncate(5000)))
	rc, err := c.Open(t.Context(), "org/open", "main", "model.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	n, err := io.Copy(io.Discard, rc)
	if n != 5000 || reasonOf(err) != outcome.Unavailable {
		t.Errorf("want 5000 bytes and Unavailable, got %d, %v", n, err)
	}
}

func TestStall(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("some"))
		w.(http.Flusher).Flush() //nolint:forcetypeassert // It is one.
		<-release
	}))
	defer s.Close()
	defer close(release)
	c := newClient(t, Options{Endpoint: s.URL})
	c.stall = 50 * time.Millisecond
	rc, err := c.Open(t.Context(), "org/open", "main", "x")
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	b, err := io.ReadAll(rc)
	if string(b) != "some" || !errors.Is(err, download.ErrStalled) || reasonOf(err) != outcome.Unavailable {
		t.Errorf("want the stream to be given up, got %q, %v", b, err)
	}
}

func TestUnreachable(t *testing.T) {
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	tls := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Error-Code", codeRepo)
		w.WriteHeader(http.StatusNotFound)
	}))
	tls.Config.ErrorLog = log.New(io.Discard, "", 0)
	tls.StartTLS()
	defer tls.Close()
	portal := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("<html>secret word</html>"))
	}))
	defer portal.Close()
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	downgrade := httptest.NewTLSServer(http.RedirectHandler(plain.URL, http.StatusFound))
	defer downgrade.Close()
	ca := filepath.Join(t.TempDir(), "ca.crt")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}

	cases := map[string]struct {
		reason  string
		options Options
		want    outcome.Reason
		message string
	}{
		"UnknownAuthority": {reason: "The cure is a CA.", options: Options{Endpoint: tls.URL}, want: outcome.Untrusted, message: "huggingFace.certSecretRef"},
		"KnownAuthority":   {reason: "With it, the Hub answers.", options: Options{Endpoint: tls.URL, CAFile: ca}, want: outcome.NotFound, message: "does not exist"},
		"NoTLS":            {reason: "The cure is another scheme.", options: Options{Endpoint: "https" + strings.TrimPrefix(plain.URL, "http")}, want: outcome.Untrusted, message: "http://"},
		"Downgrade":        {reason: "TLS is not given up for a redirect.", options: Options{Endpoint: downgrade.URL, CAFile: ca}, want: outcome.Untrusted, message: "without TLS"},
		"Refused":          {reason: "Nobody listens.", options: Options{Endpoint: gone.URL}, want: outcome.Unavailable, message: "refused"},
		"Portal":           {reason: "Not everything that answers is a Hub.", options: Options{Endpoint: portal.URL}, want: outcome.Unavailable, message: "is not a Hugging Face Hub"},
		"NoAPI":            {reason: "Another web server is no Hub either.", options: Options{Endpoint: plain.URL, Token: "hf_x"}, want: outcome.NotFound, message: "huggingFace.endpoint"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t, tc.options).Resolve(t.Context(), "org/open", "main")
			if reasonOf(err) != tc.want || err == nil || !strings.Contains(err.Error(), tc.message) {
				t.Errorf("\n%s\nResolve(...): want %s with %q, got %v", tc.reason, tc.want, tc.message, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret word") {
				t.Errorf("Resolve(...): the error repeats the server's words: %q", err)
			}
		})
	}
}

// A mirror may redirect a model that was renamed, with a path of its own.
func TestRedirectKeepsToken(t *testing.T) {
	var token string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/mirror/api/models/old") {
			http.Redirect(w, r, strings.Replace(r.URL.Path, "old", "org/new", 1), http.StatusTemporaryRedirect)
			return
		}
		token = r.Header.Get("Authorization")
		_, _ = w.Write([]byte(`{"sha": "0123456789012345678901234567890123456789", "tags": ["license:mit"]}`))
	}))
	defer s.Close()
	c := newClient(t, Options{Endpoint: s.URL + "/mirror/", Token: "hf_x"})
	rev, err := c.Resolve(t.Context(), "old", "main")
	if err != nil || rev.License != "MIT" || token != "Bearer hf_x" {
		t.Errorf("want the renamed model with the token, got %+v, %q, %v", rev, token, err)
	}
}
