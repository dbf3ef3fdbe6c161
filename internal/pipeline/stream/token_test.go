package stream

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testhub "github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// halfTime lets half of a body pass, and the rest once some time has passed.
func halfTime(d time.Duration) testhub.Fault {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&pausingWriter{ResponseWriter: w, d: d}, r)
		})
	}
}

// A pausingWriter waits in its first Write.
type pausingWriter struct {
	http.ResponseWriter

	d time.Duration
}

func (w *pausingWriter) Write(b []byte) (int, error) {
	if w.d == 0 {
		return w.ResponseWriter.Write(b)
	}
	n, err := w.ResponseWriter.Write(b[:len(b)/2])
	if err != nil {
		return n, err
	}
	_ = http.NewResponseController(w.ResponseWriter).Flush()
	<-time.After(w.d)
	w.d = 0
	m, err := w.ResponseWriter.Write(b[n:])
	return n + m, err
}

// into makes a world's run go to a real registry.
func (w *streamWorld) into(t *testing.T, r *testregistry.Registry) {
	t.Helper()
	file := func(name string, content []byte) string {
		if len(content) == 0 {
			return ""
		}
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	certificate, key := r.ClientCertificate()
	w.run.Target.Registry, w.run.Target.PlainHTTP = r.Host(), r.CA() == nil
	w.run.Target.CAFile = file("ca.crt", r.CA())
	w.run.Target.CertificateFile, w.run.Target.KeyFile = file("tls.crt", certificate), file("tls.key", key)
	if config := file("config.json", r.DockerConfig()); config != "" {
		w.run.Target.DockerConfig = filepath.Dir(config)
	}
	var err error
	w.registry, err = registry.New(registry.Options{
		Host: r.Host(), PlainHTTP: r.CA() == nil, DockerConfig: r.DockerConfig(), CA: r.CA(), Certificate: certificate, Key: key,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.registry.Close)
}

// TestStreamShortTokens has the large files of a run come slower than the
// registry's tokens end.
func TestStreamShortTokens(t *testing.T) {
	t.Parallel()
	const life = 2 * time.Second
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{{Name: "ada", Password: "correct horse"}}, TokenLife: life})
	files := streamFiles()
	w := newStreamWorld(t, files, nil)
	w.into(t, r)
	// A token lives for up to a second longer than it says.
	w.hub.SetFault(testhub.Times(1_000, testhub.On("/cdn/"), halfTime(life+1100*time.Millisecond)))
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	// Seven contents, one of them twice, and what describes them. No blob was
	// sent twice.
	pushed := r.Count(http.MethodPut, "/blobs/uploads/")
	if diff := cmp.Diff(files, w.pulled(t, result.Digest)); diff != "" {
		t.Errorf("Run(...): -want, +got files:\n%s", diff)
	}
	if want := r.Count(http.MethodPost, "/blobs/uploads/"); pushed < len(files) || pushed > want {
		t.Errorf("want each blob to be sent once, in %d uploads at most, got %d", want, pushed)
	}
	if n := w.asked("/cdn/"); n != 2 {
		t.Errorf("want the two large contents to be read once each, got %d", n)
	}
	if n := r.Count(http.MethodGet, "/auth/token"); n < 2 {
		t.Errorf("want tokens to end in this run, got %d requests for one", n)
	}
}

// tokenFile returns a file with a token, as a run has it; none for an empty one.
func tokenFile(t testing.TB, token string) string {
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

// TestStreamRenewedPassword has a registry change the password while a run's files are on
// their way, and the run's file follow a while later, as the kubelet replaces it.
func TestStreamRenewedPassword(t *testing.T) {
	t.Parallel()
	old := testregistry.User{Name: "ada", Password: "correct horse"}
	renewed := testregistry.User{Name: "ada", Password: "battery staple"}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{old}})
	files := streamFiles()
	w := newStreamWorld(t, files, nil)
	w.into(t, r)
	path := filepath.Join(w.run.Target.DockerConfig, "config.json")
	var once sync.Once
	rotate := func() {
		// The registry has accepted a push by then.
		for start := time.Now(); r.Count(http.MethodPut, "/blobs/uploads/") == 0 && time.Since(start) < 10*time.Second; {
			<-time.After(10 * time.Millisecond)
		}
		if err := r.SetUsers(renewed); err != nil {
			t.Error(err)
		}
		time.AfterFunc(3*time.Second, func() {
			config := testregistry.DockerConfig(map[string]testregistry.Entry{r.Host(): testregistry.EntryFor(renewed)})
			if err := errors.Join(os.WriteFile(path+".new", config, 0o600), os.Rename(path+".new", path)); err != nil {
				t.Error(err)
			}
		})
	}
	w.hub.SetFault(testhub.Times(1_000, testhub.On("/cdn/"), func(next http.Handler) http.Handler {
		return halfTime(time.Second)(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
			once.Do(rotate)
			next.ServeHTTP(rw, req)
		}))
	}))
	result, err := pipeline.Masked(w.stream).Run(t.Context(), w.run)
	if err != nil {
		t.Fatalf("Run(...): %v\n%s", err, w.log)
	}
	config := testregistry.DockerConfig(map[string]testregistry.Entry{r.Host(): testregistry.EntryFor(renewed)})
	if w.registry, err = registry.New(registry.Options{Host: r.Host(), PlainHTTP: true, DockerConfig: config}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.registry.Close)
	if diff := cmp.Diff(files, w.pulled(t, result.Digest)); diff != "" {
		t.Errorf("Run(...): -want, +got files:\n%s", diff)
	}
	for _, u := range []testregistry.User{old, renewed} {
		if strings.Contains(w.log.String(), u.Password) {
			t.Errorf("the log shows a password:\n%s", w.log)
		}
	}
	// A stream that began with the old password is refused and sent again.
	if n := w.asked("/cdn/"); n > 4 {
		t.Errorf("want the two large contents to be read twice each at most, got %d", n)
	}
}
