package e2e

import (
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// withRegistry gives the Artifact a registry of its own, and returns it with the
// address that it has in the cluster.
func (n *tenant) withRegistry(a *modelv1alpha1.Artifact, o registry.Options) (*registry.Registry, string) {
	n.t.Helper()
	r := registry.Start(n.t, o)
	l, err := local.Cluster.Listen(n.t.Context(), 0)
	if err != nil {
		n.t.Fatal(err)
	}
	server := &http.Server{
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          log.New(io.Discard, "", 0),
		Handler: &httputil.ReverseProxy{
			Rewrite: func(p *httputil.ProxyRequest) {
				p.Out.URL.Scheme, p.Out.URL.Host = "http", r.Host()
				// The registry makes its locations of it.
				p.Out.Host = p.In.Host
			},
			ErrorLog: log.New(io.Discard, "", 0),
		},
	}
	go func() { _ = server.Serve(l) }()
	n.t.Cleanup(func() { _ = server.Close() })
	host := l.Addr().String()
	n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) { c.Registry.Host = v1alpha1.RegistryHost(host) })
	return r, host
}

// TestDeletedWithItsRecord deletes one of two Artifacts that share content and
// repository, and then the other.
func TestDeletedWithItsRecord(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		n.publishOwn("main")
		one, other := n.ownArtifact("one", p), n.ownArtifact("other", p)
		other.Spec.ForProvider.Target.Repository, other.Spec.ForProvider.Target.Tag = one.Spec.ForProvider.Target.Repository, "v2"
		n.create(one)
		n.create(other)
		n.waitReady(one, corev1.ConditionTrue, "Available")
		n.waitReady(other, corev1.ConditionTrue, "Available")
		repository, digest := n.repository(one), one.Status.AtProvider.Digest
		fallback := strings.Replace(digest, ":", "-", 1)
		if other.Status.AtProvider.Digest != digest || len(n.records(repository, digest)) != 2 {
			n.t.Fatalf("they do not share content: %s, %s", digest, other.Status.AtProvider.Digest)
		}

		n.deleteArtifact(one)
		if tags := n.tags(repository); slices.Contains(tags, "v1") || !slices.Contains(tags, "v2") || !slices.Contains(tags, fallback) {
			n.t.Errorf("tags: got %v, want v2 and %s", tags, fallback)
		}
		if left := n.records(repository, digest); len(left) != 1 {
			n.t.Errorf("records: got %+v, want the other's", left)
		}
		if left := n.referrers(repository, digest); len(left) != 4 {
			n.t.Errorf("referrers: got %+v, want the record and the three descriptions, which the other shares", left)
		}
		n.ask(other)
		n.waitReady(other, corev1.ConditionTrue, "Available")
		n.deleteAndCheck(other)
		if left := n.tags(repository); len(left) > 0 {
			n.t.Errorf("left in the registry: %v", left)
		}
		n.sayEvents(one)
	})
}

// TestDeletedWhereTheRegistryDoesNot lets an Artifact go whose registry keeps
// all that it has.
func TestDeletedWhereTheRegistryDoesNot(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	a := n.ownArtifact("left", modelv1alpha1.PipelineStream)
	_, host := n.withRegistry(a, registry.Options{NoDelete: true})
	files := n.makeOwn(a)
	was := a.DeepCopy()
	n.deleteAndCheck(a)
	n.waitEvent(was, "ArtifactLeft", host+"/"+was.Spec.ForProvider.Target.Repository+"@"+was.Status.AtProvider.Digest)
	n.waitEvent(was, "ArtifactLeft", stagingPrefix)
	n.checkFiles(was, auth.EmptyCredential, files)
	n.sayEvents(was)
}

// stagingPrefix begins the tags that runs stage content under.
const stagingPrefix = "kitops-staging-"

// TestDeletedInMidRunLeavesNoTag deletes an Artifact whose run has just staged
// its content, and does not know of it yet.
func TestDeletedInMidRunLeavesNoTag(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		a := n.ownArtifact("stopped", p)
		r, host := n.withRegistry(a, registry.Options{})
		pushed := make(chan struct{})
		once := sync.Once{}
		r.SetFault(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
				if !registry.On(http.MethodPut, "/manifests/"+stagingPrefix)(req) {
					next.ServeHTTP(w, req)
					return
				}
				next.ServeHTTP(httptest.NewRecorder(), req)
				once.Do(func() { close(pushed) })
				// The client waits for an answer, and does not get one.
				<-req.Context().Done()
				panic(http.ErrAbortHandler)
			})
		})
		n.publishOwn("main")
		n.create(a)
		ctx, cancel := context.WithTimeout(n.t.Context(), patience)
		defer cancel()
		select {
		case <-pushed:
		case <-ctx.Done():
			n.t.Fatal("nothing was pushed")
		}
		repository := n.repositoryAt(host, a)
		if tags := n.tags(repository); len(tags) != 1 || !strings.HasPrefix(tags[0], stagingPrefix) || len(n.names(&batchv1.JobList{})) != 1 {
			n.t.Fatal("it is not in mid-run")
		}
		began := time.Now()
		n.deleteAndCheck(a)
		if took := time.Since(began); took > time.Minute {
			n.t.Errorf("it went in %s", took)
		}
		if left := n.tags(repository); len(left) > 0 {
			n.t.Errorf("left in the registry: %v", left)
		}
		n.sayEvents(a)
	})
}
