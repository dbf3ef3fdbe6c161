// Package e2e tests the provider as its users have it: in a Pod of a real
// cluster, with a real kubelet, a real registry, a Hub and real model files.
//
// The tests need root on Linux. They run where the environment variable E2E is
// true or required, as hack/test sets it.
package e2e

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/platform"
	"github.com/crossplane-contrib/provider-kitops/test/pull"
)

const (
	// patience is how long an Artifact may take to get somewhere.
	patience = 3 * time.Minute

	speech = "test/silero-vad"
)

// local is the cluster that all tests share.
var local *platform.Local

// atOnce is how many tests run at once where -parallel does not say: most of
// their time they wait.
const atOnce = "4"

func TestMain(m *testing.M) {
	_ = flag.Set("test.parallel", atOnce) // The command line comes later.
	os.Exit(run(m))
}

func run(m *testing.M) int {
	if e2e := os.Getenv("E2E"); e2e != "true" && e2e != "required" {
		fmt.Println("e2e: NOT RUN: E2E is not set; make test sets it where the tests can run")
		return 0
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir, err := os.MkdirTemp("", "provider-kitops-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = os.RemoveAll(dir) }()
	if local, err = platform.NewLocal(ctx, dir, os.Stderr); err != nil {
		fmt.Fprintln(os.Stderr, "cannot bring the platform up:", err)
		return 1
	}
	code := m.Run()
	if code != 0 {
		fmt.Fprintln(os.Stderr, local.Describe(ctx))
	}
	if err := local.Close(); err != nil {
		fmt.Fprintln(os.Stderr, "cannot take the platform down:", err)
		return 1
	}
	return code
}

// published is when the model is on the Hub that most tests make artifacts of.
var published sync.Once

// A tenant is a namespace that enforces the restricted Pod security standard,
// with a ClusterProviderConfig of its own.
type tenant struct {
	t         *testing.T
	namespace string
	files     map[string]string
}

func newTenant(t *testing.T) *tenant {
	t.Helper()
	files, err := models.Speech(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := &tenant{t: t, files: files}
	// In one step, so that no reader sees half of it.
	published.Do(func() { n.publish("main", files) })

	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "tenant-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	n.create(ns)
	n.namespace = ns.GetName()
	config := local.Config.DeepCopy()
	config.Policy = &v1alpha1.ClusterPolicy{Tenants: &v1alpha1.TenantPolicy{
		Allow: append(v1alpha1.DefaultTenantFields(), v1alpha1.TenantFieldConflictPolicy),
	}}
	n.create(&v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: n.namespace}, Spec: *config})
	return n
}

// publish puts a revision of the model on the Hub.
func (n *tenant) publish(revision string, files map[string]string) {
	n.t.Helper()
	if err := models.Write(local.Cluster.HubDir(), speech, revision, files); err != nil {
		n.t.Fatal(err)
	}
}

func (n *tenant) create(o client.Object) {
	n.t.Helper()
	if err := local.Client.Create(n.t.Context(), o); err != nil {
		n.t.Fatal(err)
	}
}

// artifact returns an Artifact that is not created yet.
func (n *tenant) artifact(name string, pipeline modelv1alpha1.PipelineType, format modelv1alpha1.PackFormat) *modelv1alpha1.Artifact {
	return &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: n.namespace},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{
				ProviderConfigReference: &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: n.namespace},
			},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source:   &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: speech}},
				Target:   &modelv1alpha1.Target{Repository: n.namespace + "/" + name, Tag: "v1"},
				Pipeline: pipeline,
				Format:   format,
			},
		},
	}
}

// eventually polls until the check says nothing more.
func (n *tenant) eventually(what string, check func() string) {
	n.t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(n.t.Context(), 200*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == "", nil
	})
	if err != nil {
		n.t.Fatalf("%s: %s", what, last)
	}
}

// waitReady waits for a Ready condition of the Artifact's present generation
// with this status and reason.
func (n *tenant) waitReady(a *modelv1alpha1.Artifact, status corev1.ConditionStatus, reason string) {
	n.t.Helper()
	n.eventually("Ready="+string(status)+" "+reason, func() string {
		if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		c, synced := a.GetCondition(xpv2.TypeReady), a.GetCondition(xpv2.TypeSynced)
		if c.Status != status || string(c.Reason) != reason || c.ObservedGeneration != a.GetGeneration() {
			return fmt.Sprintf("Ready=%s %s %q, Synced=%s %s %q", c.Status, c.Reason, c.Message, synced.Status, synced.Reason, synced.Message)
		}
		return ""
	})
}

// checkFiles pulls the artifact back and compares each file with the Hub's.
func (n *tenant) checkFiles(a *modelv1alpha1.Artifact, credential auth.Credential, files map[string]string) {
	n.t.Helper()
	host, _, _ := strings.Cut(a.Status.AtProvider.Reference, "/")
	repository, err := local.Repository(host, a.Spec.ForProvider.Target.Repository, credential)
	if err != nil {
		n.t.Fatal(err)
	}
	got, err := pull.Pull(n.t.Context(), repository, a.Spec.ForProvider.Target.Tag)
	if err != nil {
		n.t.Fatal(err)
	}
	if got.Descriptor.Digest.String() != a.Status.AtProvider.Digest {
		n.t.Errorf("digest: the registry has %s, status %s", got.Descriptor.Digest, a.Status.AtProvider.Digest)
	}
	if diff := cmp.Diff(models.Packed(files), got.Files); diff != "" {
		n.t.Errorf("files: -Hub, +registry:\n%s", diff)
	}
}

// deleteAndCheck deletes the Artifact and waits until it is gone, then checks
// that nothing of it is left in its namespace.
func (n *tenant) deleteAndCheck(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	if err := local.Client.Delete(n.t.Context(), a); err != nil {
		n.t.Fatal(err)
	}
	n.eventually("Artifact gone", func() string {
		err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a)
		if err == nil {
			return fmt.Sprintf("it is still there: %+v", a.Status.Conditions)
		}
		if client.IgnoreNotFound(err) != nil {
			return err.Error()
		}
		return ""
	})
	for _, list := range []client.ObjectList{&batchv1.JobList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}, &corev1.SecretList{}} {
		if left := n.names(list); len(left) > 0 {
			n.t.Errorf("%T: left behind: %v", list, left)
		}
	}
}

// names of the objects in the tenant's namespace.
func (n *tenant) names(list client.ObjectList) []string {
	n.t.Helper()
	if err := local.Client.List(n.t.Context(), list, client.InNamespace(n.namespace)); err != nil {
		n.t.Fatal(err)
	}
	var names []string
	switch l := list.(type) {
	case *batchv1.JobList:
		for i := range l.Items {
			names = append(names, l.Items[i].GetName())
		}
	case *corev1.PodList:
		for i := range l.Items {
			names = append(names, l.Items[i].GetName())
		}
	case *corev1.PersistentVolumeClaimList:
		for i := range l.Items {
			names = append(names, l.Items[i].GetName())
		}
	case *corev1.SecretList:
		for i := range l.Items {
			names = append(names, l.Items[i].GetName())
		}
	}
	return names
}

// with returns a copy of files with one more.
func with(files map[string]string, name, content string) map[string]string {
	out := maps.Clone(files)
	out[name] = content
	return out
}
