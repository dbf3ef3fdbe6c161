package e2e

import (
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// The model that is on its way when things are killed. A run has four of its
// files in flight.
const (
	killedFiles    = 8
	killedFileSize = 12 << 20
	killedInFlight = 4 * killedFileSize
	killedRate     = 12 << 20 // Bytes a second.
)

// TestKilledInMidTransfer ends the Hub, the registry and the Pod while a model
// is on its way, each at another place.
func TestKilledInMidTransfer(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.ownArtifact("killed", modelv1alpha1.PipelineStream)
	a.Spec.ForProvider.Retry = &modelv1alpha1.RetryPolicy{Interval: &metav1.Duration{Duration: time.Second}}
	files := largeFiles()

	h := n.startHub(files)
	r := n.startRegistry()
	n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint("http://" + h.address)}
		c.Registry.Host = v1alpha1.RegistryHost(r.address)
	})
	n.create(a)

	const total = killedFiles * killedFileSize
	n.eventually("a quarter is there", func() string { return atLeast(h.handler.Sent(), total/4) })
	h.restart()
	n.eventually("a half is there", func() string { return atLeast(h.handler.Sent(), total/2) })
	r.restart()
	n.eventually("more is there", func() string { return atLeast(h.handler.Sent(), total*5/8) })
	before := h.handler.Sent()
	n.killPod()

	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.checkFiles(a, auth.EmptyCredential, files)
	if s := a.Status.AtProvider; s.Run != 2 || s.Files != killedFiles {
		t.Errorf("status: got run %d with %d files, want the second one with all", s.Run, s.Files)
	}
	// A Pod's files in flight are sent again, and what was between the Hub and
	// the registry when one of them ended.
	sent, most := h.handler.Sent(), int64(total+killedInFlight+total/10)
	t.Logf("the Hub sent %d bytes of a model of %d, %d of them after the Pod's end", sent, total, sent-before)
	if sent > most {
		t.Errorf("the Hub sent %d bytes, want no more than the files in flight twice: %d", sent, most)
	}
	n.say("after all", a)
	n.deleteArtifact(a)
}

func atLeast(n, want int64) string {
	if n >= want {
		return ""
	}
	return strconv.FormatInt(n, 10) + " bytes were sent"
}

// largeFiles are a model of weights alone.
func largeFiles() map[string]string {
	files := map[string]string{}
	for i := range killedFiles {
		b := make([]byte, killedFileSize)
		seed := [32]byte{byte(i)}
		_, _ = rand.NewChaCha8(seed).Read(b)
		files["model-"+strconv.Itoa(i)+".safetensors"] = string(b)
	}
	return files
}

// killPod ends the run's Pod without a warning.
func (n *tenant) killPod() {
	n.t.Helper()
	jobs := &batchv1.JobList{}
	if err := local.Client.List(n.t.Context(), jobs, client.InNamespace(n.namespace)); err != nil {
		n.t.Fatal(err)
	}
	if len(jobs.Items) != 1 || jobs.Items[0].Status.Active != 1 {
		n.t.Fatalf("want one run to be under way, got %d Jobs", len(jobs.Items))
	}
	if err := local.Client.DeleteAllOf(n.t.Context(), &corev1.Pod{}, client.InNamespace(n.namespace), client.GracePeriodSeconds(0)); err != nil {
		n.t.Fatal(err)
	}
}

// A server is one in the cluster that can be ended and begun again at the same
// address.
type server struct {
	t       *testing.T
	address string
	port    int
	handler http.Handler
	wrap    func(net.Listener) net.Listener
	running *http.Server
}

func (s *server) start() {
	s.t.Helper()
	l, err := local.Cluster.Listen(s.t.Context(), s.port)
	if err != nil {
		s.t.Fatal(err)
	}
	s.address = l.Addr().String()
	if tcp, ok := l.Addr().(*net.TCPAddr); ok {
		s.port = tcp.Port
	}
	if s.wrap != nil {
		l = s.wrap(l)
	}
	s.running = &http.Server{Handler: s.handler, ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0)}
	go func(h *http.Server) { _ = h.Serve(l) }(s.running)
}

// kill ends the server and all of its connections.
func (s *server) kill() { _ = s.running.Close() }

// A slowHub is a Hub over a line that is not fast.
type slowHub struct {
	server

	handler *hub.Handler
}

func (n *tenant) startHub(files map[string]string) *slowHub {
	n.t.Helper()
	dir := n.t.TempDir()
	if err := models.Write(dir, n.ownModel(), "main", files); err != nil {
		n.t.Fatal(err)
	}
	h := &slowHub{handler: hub.NewHandler(dir)}
	line := &hub.Line{Total: killedRate}
	h.server = server{t: n.t, handler: h.handler, wrap: line.Listen}
	h.start()
	n.t.Cleanup(h.kill)
	return h
}

func (h *slowHub) restart() {
	h.t.Helper()
	h.kill()
	h.start()
}

// A mortalRegistry is a real one that keeps what it holds when it is ended.
type mortalRegistry struct {
	server

	dir string
	now atomic.Pointer[registry.Registry]
}

func (n *tenant) startRegistry() *mortalRegistry {
	n.t.Helper()
	r := &mortalRegistry{dir: n.t.TempDir()}
	r.server = server{t: n.t, handler: &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL.Scheme, p.Out.URL.Host = "http", r.now.Load().Host()
			// The registry makes its locations of it.
			p.Out.Host = p.In.Host
		},
		ErrorLog: log.New(io.Discard, "", 0),
	}}
	r.run()
	r.start()
	n.t.Cleanup(func() {
		r.kill()
		r.now.Load().Close()
	})
	return r
}

func (r *mortalRegistry) run() {
	r.t.Helper()
	program, err := registry.Run(r.dir, registry.Options{})
	if err != nil {
		r.t.Fatal(err)
	}
	r.now.Store(program)
}

func (r *mortalRegistry) restart() {
	r.t.Helper()
	r.kill()
	r.now.Load().Close()
	r.run()
	r.start()
}
