package e2e

import (
	"net/http/httputil"
	"net/url"
	"os"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/s3"
)

// TestBuckets packages the objects of a bucket at a real server, with the keys of a Secret
// of the tenant's.
func TestBuckets(t *testing.T) {
	t.Parallel()
	n := newTenant(t)
	g, endpoint := n.startGateway()
	n.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: "bucket"},
		StringData: map[string]string{"AWS_ACCESS_KEY_ID": g.Keys.AccessKeyID, "AWS_SECRET_ACCESS_KEY": g.Keys.SecretAccessKey},
	})
	files := map[string]string{}
	for name, content := range n.files {
		if name == ".gitattributes" {
			continue
		}
		files[name] = content
		if err := g.Put(t.Context(), "models", "runs/7/"+name, []byte(content), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.Put(t.Context(), "models", "runs/70/other", []byte("another folder"), nil); err != nil {
		t.Fatal(err)
	}
	digests := map[string]bool{}
	for name, format := range map[string]modelv1alpha1.PackFormat{"pack": modelv1alpha1.PackFormatModelPack, "again": modelv1alpha1.PackFormatModelPack, "kit": modelv1alpha1.PackFormatModelKit} {
		a := n.artifact(name, modelv1alpha1.PipelineStream, format)
		a.Spec.ForProvider.Source = &modelv1alpha1.Source{S3: &modelv1alpha1.S3Source{
			Bucket: "models", Prefix: "runs/7", Endpoint: modelv1alpha1.SourceEndpoint(endpoint), Region: s3.Region,
			CredentialsSecretRef: &xpv2.LocalSecretReference{Name: "bucket"},
		}}
		n.create(a)
		n.waitReady(a, corev1.ConditionTrue, "Available")
		n.say("of a bucket", a)
		if s := a.Status.AtProvider.Source; s == nil || !strings.HasPrefix(s.Revision, "sha256:") || s.License != "MIT" {
			t.Errorf("%s: want a revision of the listing and the model card's licence, got %+v", name, s)
		}
		n.checkFiles(a, auth.EmptyCredential, files)
		if format == modelv1alpha1.PackFormatModelPack {
			digests[a.Status.AtProvider.Digest] = true
		}
		n.deleteArtifact(a)
	}
	if len(digests) != 1 {
		t.Errorf("the same objects should give the same digest, got %v", digests)
	}
}

// startGateway starts a server of S3's protocol with the bucket models, in which objects
// have versions, and returns its address in the cluster.
func (n *tenant) startGateway() (*s3.Gateway, string) {
	n.t.Helper()
	g, err := s3.StartGateway(n.t.Context(), os.Stderr, n.t.TempDir())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(g.Stop)
	if err := g.Bucket(n.t.Context(), "models", true); err != nil {
		n.t.Fatal(err)
	}
	to, err := url.Parse(g.Endpoint)
	if err != nil {
		n.t.Fatal(err)
	}
	s := &server{t: n.t, handler: &httputil.ReverseProxy{Rewrite: func(p *httputil.ProxyRequest) {
		p.SetURL(to)
		// The host is signed.
		p.Out.Host = p.In.Host
	}}}
	s.start()
	n.t.Cleanup(s.kill)
	return g, "http://" + s.address
}
