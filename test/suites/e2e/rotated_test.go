package e2e

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote/auth"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

// The Hub's token before and after the administrator rotates it.
const firstToken, secondToken = "hf_firstTokenOfTheHub", "hf_secondTokenOfTheHub"

// TestRotatedInMidRun has an administrator rotate the Hub's token while an isolated run
// reads files with it: the kubelet updates what the Pod has mounted, and the same run goes
// on with the new token.
func TestRotatedInMidRun(t *testing.T) {
	t.Parallel()
	n, runs, home := newTenant(t), newTenant(t), newTenant(t)
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "hub", Namespace: home.namespace},
		StringData: map[string]string{"token": firstToken},
	}
	n.create(secret)
	dir := t.TempDir()
	if err := models.Write(dir, n.ownModel(), "main", n.files); err != nil {
		t.Fatal(err)
	}
	h := &rotatingHub{next: hub.NewHandler(dir), revoked: make(chan struct{})}
	s := &server{t: t, handler: h}
	s.start()
	t.Cleanup(s.kill)
	a := n.ownArtifact("rotated", modelv1alpha1.PipelineStream)
	n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.HuggingFace = &v1alpha1.ClusterHuggingFaceConfig{
			Endpoint:       v1alpha1.HubEndpoint("http://" + s.address),
			TokenSecretRef: &xpv2.SecretKeySelector{SecretReference: xpv2.SecretReference{Name: secret.GetName(), Namespace: home.namespace}, Key: "token"},
		}
		c.Job.Namespace = runs.namespace
	})
	n.create(a)

	n.eventually("the run reads a file", func() string {
		select {
		case <-h.revoked:
			return ""
		default:
			return "no file was asked for"
		}
	})
	secret.StringData = map[string]string{"token": secondToken}
	if err := local.Client.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	n.eventually("the run goes on with the new token", func() string {
		if h.renewed.Load() {
			return ""
		}
		return "no request has the new token"
	})
	n.waitReady(a, corev1.ConditionTrue, "Available")
	n.checkFiles(a, auth.EmptyCredential, n.files)
	if run := a.Status.AtProvider.Run; run != 1 {
		t.Errorf("It should be the same run that goes on, got run %d.", run)
	}
	n.checkNothingRuns()
	n.deleteAndCheck(a)
}

// A rotatingHub accepts the first token until a file is read with it, and the second one
// from then on.
type rotatingHub struct {
	next    http.Handler
	once    sync.Once
	revoked chan struct{}
	renewed atomic.Bool // The second token was seen.
}

// ServeHTTP implements http.Handler.
func (h *rotatingHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.Contains(r.URL.Path, "/resolve/") {
		h.once.Do(func() { close(h.revoked) })
	}
	want := firstToken
	select {
	case <-h.revoked:
		want = secondToken
	default:
	}
	switch got := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "); {
	case got == secondToken:
		h.renewed.Store(true)
	case got != "" && got != want:
		http.Error(w, "this token was revoked", http.StatusUnauthorized)
		return
	case strings.Contains(r.URL.Path, "/resolve/") && got == "":
		http.Error(w, "a token is needed", http.StatusUnauthorized)
		return
	}
	h.next.ServeHTTP(w, r)
}
