// Package gcs runs fake-gcs-server, a server of Google Cloud Storage, for tests, behind a
// proxy that enforces what it ignores: authorizations and conditions on generations.
package gcs

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

const (
	buildTimeout = 20 * time.Minute
	startTimeout = time.Minute
)

// process is the one server of a test binary, at an address. Each test has a bucket.
var process = sync.OnceValues(start)

// buckets counts the buckets.
var buckets atomic.Int64

// start starts the server, which ends with this process.
func start() (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), buildTimeout)
	defer cancel()
	dir, err := programs.Build(ctx, os.Stderr, programs.FakeGCS)
	if err != nil {
		return "", errors.Wrap(err, "cannot build fake-gcs-server")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", errors.Wrap(err, "cannot find a free port")
	}
	at := l.Addr().String()
	_, port, _ := net.SplitHostPort(at)
	_ = l.Close()
	cmd := exec.Command(filepath.Join(dir, "fake-gcs-server"),
		"-scheme", "http", "-host", "127.0.0.1", "-port", port, "-backend", "memory", "-public-host", at, "-external-url", "http://"+at, "-log-level", "error")
	cmd.SysProcAttr = dieWithParent()
	started := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		// Where a process ends with its parent, that is the thread that started it.
		runtime.LockOSThread()
		defer close(ended)
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return "", errors.Wrap(err, "cannot start fake-gcs-server")
	}
	return at, await(ctx, at, ended)
}

// await waits until the server serves.
func await(ctx context.Context, at string, ended <-chan struct{}) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", at)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			return errors.New("fake-gcs-server ended")
		case <-ctx.Done():
			return errors.Wrap(err, "fake-gcs-server does not serve")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// A Bucket is one at the server.
type Bucket struct {
	Name string

	// Token returns whether a bearer token is accepted. Nil accepts each request.
	Token func(token string) bool

	t     *testing.T
	at    string
	proxy *httputil.ReverseProxy
}

// NewBucket creates a bucket, which keeps old generations of objects if it is versioned.
func NewBucket(t *testing.T, versioned bool) *Bucket {
	t.Helper()
	at, err := process()
	if err != nil {
		t.Fatal(err)
	}
	b := &Bucket{Name: fmt.Sprintf("models-%d", buckets.Add(1)), t: t, at: at}
	b.proxy = httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: at})
	direct := b.proxy.Director //nolint:staticcheck // Only the host of a request changes.
	b.proxy.Director = func(r *http.Request) {
		direct(r)
		r.Host = at
	}
	b.proxy.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	b.send(http.MethodPost, "/storage/v1/b?project=test", map[string]any{"name": b.Name, "versioning": map[string]bool{"enabled": versioned}})
	return b
}

// ServeHTTP implements http.Handler.
func (b *Bucket) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if b.Token != nil {
		scheme, token, _ := bytes.Cut([]byte(r.Header.Get("Authorization")), []byte(" "))
		if string(scheme) != "Bearer" || !b.Token(string(token)) {
			Refuse(w, http.StatusUnauthorized, "authError")
			return
		}
	}
	q := r.URL.Query()
	if m := q.Get("ifGenerationMatch"); m != "" && q.Get("alt") == "media" {
		// Which the server does not compare on reads: the latest generation must be this
		// one, unless another one is asked for.
		rec := httptest.NewRecorder()
		head := r.Clone(r.Context())
		head.Header.Del("Range")
		b.proxy.ServeHTTP(rec, head)
		if got := rec.Header().Get("X-Goog-Generation"); rec.Code == http.StatusOK && got != m {
			Refuse(w, http.StatusPreconditionFailed, "conditionNotMet")
			return
		}
	}
	b.proxy.ServeHTTP(w, r)
}

// Refuse answers with an error that has a reason.
func Refuse(w http.ResponseWriter, status int, reason string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = fmt.Fprintf(w, `{"error":{"code":%d,"errors":[{"reason":%q,"message":"none"}]}}`, status, reason)
}

// Put uploads an object.
func (b *Bucket) Put(name string, content []byte) {
	b.t.Helper()
	b.send(http.MethodPost, "/upload/storage/v1/b/"+b.Name+"/o?uploadType=media&name="+url.QueryEscape(name), content)
}

// Compose creates an object of others.
func (b *Bucket) Compose(name string, of ...string) {
	b.t.Helper()
	var parts []map[string]string
	for _, n := range of {
		parts = append(parts, map[string]string{"name": n})
	}
	b.send(http.MethodPost, "/storage/v1/b/"+b.Name+"/o/"+url.PathEscape(name)+"/compose", map[string]any{"sourceObjects": parts, "destination": map[string]string{"contentType": "application/octet-stream"}})
}

// Delete deletes an object.
func (b *Bucket) Delete(name string) {
	b.t.Helper()
	b.send(http.MethodDelete, "/storage/v1/b/"+b.Name+"/o/"+url.PathEscape(name), nil)
}

// send makes a request, which must succeed. A body that is not bytes is sent as JSON.
func (b *Bucket) send(method, path string, body any) {
	b.t.Helper()
	raw, ok := body.([]byte)
	if !ok {
		var err error
		if raw, err = json.Marshal(body); err != nil {
			b.t.Fatal(err)
		}
	}
	req, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.at+path, bytes.NewReader(raw))
	if err != nil {
		b.t.Fatal(err)
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = rsp.Body.Close() }()
	said, _ := io.ReadAll(rsp.Body)
	if rsp.StatusCode >= http.StatusMultipleChoices {
		b.t.Fatalf("%s %s: status %d: %s", method, path, rsp.StatusCode, said)
	}
}
