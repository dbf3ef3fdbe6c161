package hub

import (
	"context"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

const sha = "0123456789012345678901234567890123456789"

func TestCommit(t *testing.T) {
	h, c := serve(t, "")
	rev, err := c.Resolve(t.Context(), "org/open", "main")
	if err != nil {
		t.Fatal(err)
	}
	h.ResetRequests()

	first, err := c.Commit(t.Context(), "org/open", "", "")
	if err != nil || first.ETag == "" {
		t.Fatalf("want an answer with an ETag, got %+v, %v", first, err)
	}
	if diff := cmp.Diff(Head{Commit: rev.Commit, ETag: first.ETag}, first); diff != "" {
		t.Errorf("Commit(...): -want, +got:\n%s", diff)
	}
	again, err := c.Commit(t.Context(), "org/open", "main", first.ETag)
	if diff := cmp.Diff(Head{ETag: first.ETag, NotModified: true}, again); diff != "" || err != nil {
		t.Errorf("Commit(...) with an ETag: -want, +got:\n%s\n%v", diff, err)
	}
	h.SetETags(false)
	bare, err := c.Commit(t.Context(), "org/open", "main", first.ETag)
	if diff := cmp.Diff(Head{Commit: rev.Commit}, bare); diff != "" || err != nil {
		t.Errorf("Commit(...) where there are no ETags: -want, +got:\n%s\n%v", diff, err)
	}
	asked := h.Requests()
	if len(asked) != 3 || h.NotModified() != 1 || asked[0].Query != "expand=sha" || asked[0].IfNoneMatch != "" || asked[1].IfNoneMatch != first.ETag {
		t.Errorf("want one small request each, got %+v", asked)
	}
	c.Close()
}

func TestCommitErrors(t *testing.T) {
	type args struct {
		model, revision, token string
		fault                  testhub.Fault
	}
	type want struct {
		reason   outcome.Reason
		rest     time.Duration
		requests int
	}
	limited := http.Header{"Ratelimit": {`"api";r=0;t=55`}, "Ratelimit-Policy": {`"fixed window";"api";q=500;w=300`}}
	cases := map[string]struct {
		reason string
		args   args
		want   want
	}{
		"NoName":      {reason: "No name can lead a request elsewhere.", args: args{model: "../../x"}, want: want{reason: outcome.NotFound}},
		"NoRevision":  {reason: "A branch may go.", args: args{model: "org/open", revision: "v9"}, want: want{reason: outcome.NotFound, requests: 1}},
		"Private":     {reason: "A token may lose its rights.", args: args{model: "org/private", token: "hf_out"}, want: want{reason: outcome.NotFound, requests: 1}},
		"BadToken":    {reason: "A token may be revoked.", args: args{model: "org/open", token: "sesame"}, want: want{reason: outcome.Unauthorized, requests: 1}},
		"RateLimited": {reason: "The Hub says when to come back.", args: args{model: "org/open", fault: testhub.Status(429, limited)}, want: want{reason: outcome.RateLimited, rest: 55 * time.Second, requests: 1}},
		"RetryAfter":  {reason: "So may what stands before it.", args: args{model: "org/open", fault: testhub.Status(503, http.Header{"Retry-After": {"120"}})}, want: want{reason: outcome.Unavailable, rest: 2 * time.Minute, requests: 1}},
		"Missing":     {reason: "A quota may be used up by what is not there.", args: args{model: "org/open", fault: testhub.Status(404, limited)}, want: want{reason: outcome.NotFound, rest: 55 * time.Second, requests: 1}},
		"Failing":     {reason: "It is not tried again here.", args: args{model: "org/open", fault: testhub.Status(500, nil)}, want: want{reason: outcome.Unavailable, requests: 1}},
		"Truncated":   {reason: "Half an answer is none.", args: args{model: "org/open", fault: testhub.Truncate(10)}, want: want{reason: outcome.Unavailable, requests: 1}},
		"NotAsked":    {reason: "An answer to another request is none.", args: args{model: "org/open", fault: testhub.Status(304, nil)}, want: want{reason: outcome.Internal, requests: 1}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h, c := serve(t, tc.args.token)
			h.SetFault(tc.args.fault)
			head, err := c.Commit(t.Context(), tc.args.model, tc.args.revision, "")
			got := want{reason: reasonOf(err), rest: head.Rest, requests: len(h.Requests())}
			if diff := cmp.Diff(tc.want, got, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nCommit(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && tc.args.token != "" && strings.Contains(err.Error(), tc.args.token) {
				t.Errorf("Commit(...): the token is in the error %q", err)
			}
		})
	}
}

// A mirror may answer in ways of its own.
func TestCommitOfMirror(t *testing.T) {
	type want struct {
		head   Head
		reason outcome.Reason
	}
	cases := map[string]struct {
		reason string
		header map[string]string
		body   string
		want   want
	}{
		"Everything": {
			reason: "What it tells beside is left aside.",
			body:   `{"siblings": [` + strings.Repeat(`{"rfilename": "x"},`, 1000) + `{}], "sha": "` + sha + `"}`,
			want:   want{head: Head{Commit: sha}},
		},
		"Rest": {
			reason: "An answer may be the last one for a while.",
			header: map[string]string{"RateLimit": `"api";r=99;t=200`, "RateLimit-Policy": `"fixed window";"api";q=500;w=300`, "ETag": `"x"`},
			body:   `{"sha": "` + sha + `"}`,
			want:   want{head: Head{Commit: sha, ETag: `"x"`, Rest: 200 * time.Second}},
		},
		"LongETag": {reason: "What is kept is bounded.", header: map[string]string{"ETag": `"` + strings.Repeat("x", maxETag) + `"`}, body: `{"sha": "` + sha + `"}`, want: want{head: Head{Commit: sha}}},
		"Endless":  {reason: "So is what is read.", body: `{"x": "` + strings.Repeat("x", maxHead) + `"}`, want: want{reason: outcome.Unavailable}},
		"Portal":   {reason: "Not everything that answers is a Hub.", body: "<html>secret word</html>", want: want{reason: outcome.Unavailable}},
		"NoCommit": {reason: "A commit has 40 digits.", body: `{"sha": "main"}`, want: want{reason: outcome.Unavailable}},
		"Encoded":  {reason: "What was not asked for cannot be read.", header: map[string]string{"Content-Encoding": "br"}, want: want{reason: outcome.Unavailable}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for k, v := range tc.header {
					w.Header().Set(k, v)
				}
				_, _ = io.WriteString(w, tc.body)
			}))
			defer s.Close()
			head, err := newClient(t, Options{Endpoint: s.URL}).Commit(t.Context(), "org/open", "main", "")
			if diff := cmp.Diff(tc.want, want{head: head, reason: reasonOf(err)}, cmp.AllowUnexported(want{})); diff != "" {
				t.Errorf("\n%s\nCommit(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			if err != nil && strings.Contains(err.Error(), "secret word") {
				t.Errorf("Commit(...): the error repeats the server's words: %q", err)
			}
		})
	}
}

func TestCommitStalls(t *testing.T) {
	for name, say := range map[string]string{"NoAnswer": "", "HalfAnAnswer": `{"sha": "`} {
		t.Run(name, func(t *testing.T) {
			release := make(chan struct{})
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if say != "" {
					_, _ = io.WriteString(w, say)
					w.(http.Flusher).Flush() //nolint:forcetypeassert // It is one.
				}
				<-release
			}))
			defer s.Close()
			defer close(release)
			c := newClient(t, Options{Endpoint: s.URL})
			c.patience = 50 * time.Millisecond
			if _, err := c.Commit(t.Context(), "org/open", "main", ""); reasonOf(err) != outcome.Unavailable || !strings.Contains(fmt.Sprint(err), "did not answer in time") {
				t.Errorf("want the Hub to be given up, got %v", err)
			}
			c.patience = commitTimeout
			ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
			defer cancel()
			if _, err := c.Commit(ctx, "org/open", "main", ""); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("want the caller's own deadline, got %v", err)
			}
		})
	}
}

// TestHosts has clients that share what they know of hosts ask a Hub.
func TestHosts(t *testing.T) {
	h, _ := serve(t, "")
	s := httptest.NewServer(h)
	hosts := connection.NewHosts()
	ask := func() error {
		c := newClient(t, Options{Endpoint: s.URL, Hosts: hosts})
		defer c.Close()
		_, err := c.Commit(t.Context(), "org/open", "main", "")
		return err
	}
	if err := ask(); err != nil || !hosts.Quick(Origin(s.URL)) {
		t.Errorf("A Hub that answers should be known to be quick, got %v", err)
	}
	h.SetFault(testhub.Status(429, http.Header{"Retry-After": {"60"}}))
	_ = ask()
	before := len(h.Requests())
	if err := ask(); reasonOf(err) != outcome.RateLimited || len(h.Requests()) > before {
		t.Errorf("A Hub should be left alone for as long as it asks for, got %v", err)
	}
	s.Close()

	hosts = connection.NewHosts()
	for range 5 {
		if err := ask(); reasonOf(err) != outcome.Unavailable {
			t.Errorf("A Hub that is down should be unavailable, got %v", err)
		}
	}
	if err := ask(); reasonOf(err) != outcome.Unavailable || !strings.Contains(err.Error(), "has not answered 5 times in a row") {
		t.Errorf("A Hub that does not answer should be left alone, got %v", err)
	}
}

func TestOrigin(t *testing.T) {
	cases := map[string]struct {
		reason   string
		endpoint string
		want     string
	}{
		"Default": {reason: "An empty endpoint should be the public Hub.", want: "https://huggingface.co"},
		"Mirror":  {reason: "A mirror's path should be no part of its origin.", endpoint: "http://Mirror.test:8080/hub/", want: "http://mirror.test:8080"},
		"Invalid": {reason: "An endpoint that no client is made for should have no origin.", endpoint: "mirror.test"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, Origin(tc.endpoint)); diff != "" {
				t.Errorf("\n%s\nOrigin(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestCA(t *testing.T) {
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"sha": "`+sha+`"}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	defer s.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})

	for name, tc := range map[string]struct {
		reason string
		ca     []byte
		want   outcome.Reason
	}{
		"None":  {reason: "Nobody vouches for it.", want: outcome.Untrusted},
		"Given": {reason: "A Secret's bytes do.", ca: ca},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t, Options{Endpoint: s.URL, CA: tc.ca}).Commit(t.Context(), "org/open", "main", "")
			if diff := cmp.Diff(tc.want, reasonOf(err)); diff != "" {
				t.Errorf("\n%s\nCommit(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
		})
	}
	if _, err := New(Options{CA: []byte("none")}); reasonOf(err) != outcome.ConfigInvalid {
		t.Errorf("want what is no certificate to be refused, got %v", err)
	}
}

func watchClosed(closed chan<- struct{}) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, s http.ConnState) {
		if s == http.StateClosed {
			closed <- struct{}{}
		}
	}
}

func TestClose(t *testing.T) {
	closed := make(chan struct{}, 1)
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"sha": "`+sha+`"}`)
	}))
	s.Config.ConnState = watchClosed(closed)
	s.Start()
	defer s.Close()
	c := newClient(t, Options{Endpoint: s.URL})
	if _, err := c.Commit(t.Context(), "org/open", "main", ""); err != nil {
		t.Fatal(err)
	}
	c.Close()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		t.Error("want the idle connection to be closed")
	}
}
