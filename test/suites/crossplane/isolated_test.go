package crossplane

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// runNamespace is the namespace for runs in examples/install.
const runNamespace = "kitops-runs"

// testIsolated has runs of both pipelines execute in the namespace of
// examples/install/isolated-runs.yaml, first by a provider that may have runs anywhere,
// then by one that is restricted to it.
func testIsolated(t *testing.T) {
	installed(t, v1)
	kubectl(t, example(t, "isolated-runs.yaml"), "apply", "--filename=-")
	n := newTenant(t)
	n.isolate()
	stop := n.watchForRuns()
	n.create("stream", isolated(n), atPasswordRegistry)
	n.create("kit", isolated(n), atPasswordRegistry, func(a *modelv1alpha1.Artifact) { a.Spec.ForProvider.Pipeline = modelv1alpha1.PipelineKit })
	for _, name := range []string{"stream", "kit"} {
		a := n.waitReady(name, corev1.ConditionTrue, xpv2.ReasonAvailable)
		if ref := a.Status.AtProvider.JobRef; ref == nil || ref.Namespace != runNamespace {
			t.Errorf("%s: the run's Job is %v, and should be in %s", name, ref, runNamespace)
		}
	}
	n.deleteIsolated("stream", "kit")

	// A provider that is restricted has permissions for runs there only. It runs as its
	// image's user, as OpenShift's configuration has it: neither that nor Crossplane sets one.
	kubectl(t, example(t, "rbac-run-namespace.yaml"), "apply", "--filename=-")
	restricted := strings.Replace(example(t, "runtimeconfig-openshift.yaml"), "--metrics-secure]", "--metrics-secure, --run-namespace="+runNamespace+"]", 1)
	if !strings.Contains(restricted, "--run-namespace=") {
		t.Fatal("runtimeconfig-openshift.yaml has other arguments than this test expects")
	}
	kubectl(t, restricted, "apply", "--filename=-")
	eventually(t, "the provider's Pod is restricted", func(ctx context.Context) string {
		pods, err := providerPods(ctx)
		if err != nil || len(pods) != 1 || !strings.Contains(strings.Join(pods[0].Spec.Containers[0].Args, " "), "--run-namespace=") {
			return fmt.Sprintf("%d Pods, error %v", len(pods), err)
		}
		if of, in := pods[0].Spec.SecurityContext, pods[0].Spec.Containers[0].SecurityContext; of.RunAsUser != nil || of.FSGroup != nil || in.RunAsUser != nil {
			return fmt.Sprintf("its user is set: %+v, %+v", of, in)
		}
		return ""
	})
	n.create("restricted", isolated(n), atPasswordRegistry)
	n.waitReady("restricted", corev1.ConditionTrue, xpv2.ReasonAvailable)
	n.create("refused")
	n.waitReady("refused", corev1.ConditionFalse, "NotAllowed")
	n.deleteIsolated("restricted", "refused")
	stop()

	// What follows finds the provider as the README installs it.
	apply(t, v1)
	eventually(t, "the provider's Pod is not restricted", func(ctx context.Context) string {
		pods, err := providerPods(ctx)
		if err != nil || len(pods) != 1 || strings.Contains(strings.Join(pods[0].Spec.Containers[0].Args, " "), "--run-namespace=") {
			return fmt.Sprintf("%d Pods, error %v", len(pods), err)
		}
		return ""
	})
	waitInstalled(t, v1)
}

// example returns a file of examples/install.
func example(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "install", file))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// isolate makes a ClusterProviderConfig with the account of the registry that has a
// password, whose runs execute in runNamespace.
func (n *tenant) isolate() {
	n.t.Helper()
	password, err := local.Cluster.RegistryPassword()
	if err != nil {
		n.t.Fatal(err)
	}
	host, home := local.Cluster.AuthRegistryHost(), local.Cluster.CrossplaneNamespace()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: n.namespace + "-registry", Namespace: home},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{"` + host + `":{"username":"` + local.Cluster.RegistryUser() + `","password":"` + password + `"}}}`},
	}
	pc := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: n.namespace + "-isolated"}, Spec: *local.Config.DeepCopy()}
	pc.Spec.Registry.Host = v1alpha1.RegistryHost(host)
	pc.Spec.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{
		Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Namespace: home, Name: secret.GetName()},
	}
	pc.Spec.Job.Namespace = runNamespace
	for _, o := range []client.Object{secret, pc} {
		if err := local.Client.Create(n.t.Context(), o); err != nil {
			n.t.Fatal(err)
		}
	}
}

// isolated uses the config whose runs execute in runNamespace.
func isolated(n *tenant) change { return withConfig(n.namespace + "-isolated") }

// atPasswordRegistry keeps the repositories of the registry that has a password apart.
func atPasswordRegistry(a *modelv1alpha1.Artifact) {
	a.Spec.ForProvider.Target.Repository += "-isolated"
}

// watchForRuns reports each object of a run that is in the tenant's namespace at any time
// until stop is called.
func (n *tenant) watchForRuns() (stop func()) {
	n.t.Helper()
	ctx, cancel := context.WithCancel(n.t.Context())
	var stops []func()
	for _, kind := range []string{"secrets", "pods", "jobs.batch", "persistentvolumeclaims"} {
		cmd := local.Cluster.Kubectl(ctx, "get", "--namespace="+n.namespace, "--watch", "--output=name", kind)
		out := &bytes.Buffer{}
		cmd.Stdout = out
		if err := cmd.Start(); err != nil {
			cancel()
			n.t.Fatal(err)
		}
		stops = append(stops, func() {
			_ = cmd.Wait()
			if seen := strings.Fields(out.String()); len(seen) > 0 {
				n.t.Errorf("the tenant's namespace had %s", strings.Join(seen, ", "))
			}
		})
	}
	return func() {
		n.t.Helper()
		cancel()
		for _, wait := range stops {
			wait()
		}
	}
}

// deleteIsolated deletes Artifacts, and waits until nothing of them is left in either
// namespace.
func (n *tenant) deleteIsolated(artifacts ...string) {
	n.t.Helper()
	for _, name := range artifacts {
		kubectl(n.t, "", "delete", "--namespace="+n.namespace, "artifact/"+name, "--timeout="+patience.String())
	}
	eventually(n.t, "nothing left", func(context.Context) string {
		left := n.left()
		for _, list := range []client.ObjectList{&batchv1.JobList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}, &corev1.SecretList{}} {
			left = append(left, names(n.t, list, runNamespace)...)
		}
		return strings.Join(left, ", ")
	})
}
