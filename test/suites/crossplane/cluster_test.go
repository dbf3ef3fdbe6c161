package crossplane

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/models"
)

const (
	// patience is how long anything may take to get somewhere.
	patience = 2 * time.Minute

	speech = "test/silero-vad"
)

// kubectl runs the cluster's kubectl with an input, and returns its output.
func kubectl(t *testing.T, input string, args ...string) string {
	t.Helper()
	cmd := local.Cluster.Kubectl(t.Context(), args...)
	cmd.Stdin = strings.NewReader(input)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("kubectl %s: %v\n%s%s", strings.Join(args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String()
}

// eventually polls until what is missing is nothing.
func eventually(t *testing.T, what string, missing func(ctx context.Context) string) {
	t.Helper()
	eventuallyWithin(t, patience, what, missing)
}

// eventuallyWithin polls that long.
func eventuallyWithin(t *testing.T, limit time.Duration, what string, missing func(ctx context.Context) string) {
	t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, limit, true, func(ctx context.Context) (bool, error) {
		last = missing(ctx)
		return last == "", nil
	})
	if err != nil {
		t.Fatalf("%s: %v: %s", what, err, last)
	}
}

// describe returns what a person looks at when something does not work.
func describe(ctx context.Context) string {
	out := &strings.Builder{}
	for _, args := range [][]string{
		{"get", "providers,providerrevisions,functions,managedresourcedefinitions,deployments", "--all-namespaces", "--output=wide"},
		{"get", "composite", "--all-namespaces", "--output=yaml"},
	} {
		text, _ := local.Cluster.Kubectl(ctx, args...).CombinedOutput()
		fmt.Fprintf(out, "kubectl %s\n%s\n", strings.Join(args, " "), text)
	}
	log, _ := os.ReadFile(filepath.Join(local.Cluster.LogDir(), "crossplane.log"))
	fmt.Fprintf(out, "the end of Crossplane's log\n%s\n", log[max(0, len(log)-4096):])
	return out.String() + local.Describe(ctx)
}

// A tenant is a namespace that enforces the restricted Pod security standard,
// with a ClusterProviderConfig of its own, of the same name.
type tenant struct {
	t         *testing.T
	namespace string
	files     map[string]string
}

func newTenant(t *testing.T) *tenant {
	t.Helper()
	files, err := models.WriteSpeech(t.Context(), local.Cluster.HubDir(), speech)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "tenant-",
		Labels:       map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}
	if err := local.Client.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	n := &tenant{t: t, namespace: ns.GetName(), files: maps.Clone(files)}
	n.configure(n.namespace, "")
	return n
}

// configure makes a ClusterProviderConfig for the cluster's registry and a Hub:
// the cluster's own if none is named.
func (n *tenant) configure(name, hub string) {
	n.t.Helper()
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: *local.Config.DeepCopy()}
	if hub != "" {
		pc.Spec.HuggingFace.Endpoint = v1alpha1.HubEndpoint(hub)
	}
	if err := local.Client.Create(n.t.Context(), pc); err != nil {
		n.t.Fatal(err)
	}
}

// A change of an Artifact before it is made.
type change func(*modelv1alpha1.Artifact)

// withConfig uses another ClusterProviderConfig than the tenant's.
func withConfig(name string) change {
	return func(a *modelv1alpha1.Artifact) { a.Spec.ProviderConfigReference.Name = name }
}

// create makes an Artifact that streams the speech model, with the changes.
func (n *tenant) create(name string, changes ...change) *modelv1alpha1.Artifact {
	n.t.Helper()
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: n.namespace}}
	a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{
		Source:   &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: speech}},
		Target:   &modelv1alpha1.Target{Repository: n.namespace + "/" + name, Tag: "v1"},
		Pipeline: modelv1alpha1.PipelineStream,
	}
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: n.namespace}
	for _, c := range changes {
		c(a)
	}
	if err := local.Client.Create(n.t.Context(), a); err != nil {
		n.t.Fatal(err)
	}
	return a
}

// get reads an Artifact.
func (n *tenant) get(name string) *modelv1alpha1.Artifact {
	n.t.Helper()
	a := &modelv1alpha1.Artifact{}
	if err := local.Client.Get(n.t.Context(), types.NamespacedName{Namespace: n.namespace, Name: name}, a); err != nil {
		n.t.Fatal(err)
	}
	return a
}

// waitReady waits until the Artifact's condition Ready is so, and returns it.
func (n *tenant) waitReady(name string, status corev1.ConditionStatus, reason xpv2.ConditionReason) *modelv1alpha1.Artifact {
	n.t.Helper()
	a := &modelv1alpha1.Artifact{}
	eventually(n.t, fmt.Sprintf("%s: Ready=%s %s", name, status, reason), func(context.Context) string {
		a = n.get(name)
		c, synced := a.GetCondition(xpv2.TypeReady), a.GetCondition(xpv2.TypeSynced)
		if c.Status == status && c.Reason == reason && c.ObservedGeneration == a.GetGeneration() {
			return ""
		}
		return fmt.Sprintf("Ready=%s %s %q, Synced=%s %s %q", c.Status, c.Reason, c.Message, synced.Status, synced.Reason, synced.Message)
	})
	return a
}

// left are the objects of runs and of Artifacts in the tenant's namespace. The
// Secrets that the tenant made stay.
func (n *tenant) left() []string {
	n.t.Helper()
	var left []string
	for _, list := range []client.ObjectList{
		&modelv1alpha1.ArtifactList{}, &v1alpha1.ProviderConfigUsageList{},
		&batchv1.JobList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}, &corev1.SecretList{},
	} {
		left = append(left, names(n.t, list, n.namespace)...)
	}
	return left
}

// names are the objects of a kind in a namespace, as kind/name, but for Secrets
// that has no owner and no labels.
func names(t *testing.T, list client.ObjectList, namespace string) []string {
	t.Helper()
	if err := local.Client.List(t.Context(), list, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	kind := strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%T", list), "*"), "List")
	objects, err := objectsOf(list)
	if err != nil {
		t.Fatal(err)
	}
	out := make([]string, 0, len(objects))
	for _, o := range objects {
		if _, secret := o.(*corev1.Secret); secret && len(o.GetLabels())+len(o.GetOwnerReferences()) == 0 {
			continue
		}
		out = append(out, kind+"/"+o.GetName())
	}
	return out
}

// objectsOf are the objects in a list.
func objectsOf(list client.ObjectList) ([]metav1.Object, error) {
	var out []metav1.Object
	err := apimeta.EachListItem(list, func(o runtime.Object) error {
		object, err := apimeta.Accessor(o)
		out = append(out, object)
		return err
	})
	return out, err
}
