package e2e

import (
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

// TestIsolatedRuns has runs of both pipelines execute in a namespace of the
// administrator's, with an account that no tenant has.
func TestIsolatedRuns(t *testing.T) {
	t.Parallel()
	n, runs := newTenant(t), newTenant(t)
	password, err := local.Cluster.RegistryPassword()
	if err != nil {
		t.Fatal(err)
	}
	host, user := local.Cluster.AuthRegistryHost(), local.Cluster.RegistryUser()
	home := newTenant(t)
	home.dockerConfig("registry", host, user, password)
	config := &v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: n.namespace + "-isolated"}, Spec: *local.Config.DeepCopy()}
	config.Spec.Registry.Host = v1alpha1.RegistryHost(host)
	config.Spec.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{
		Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Namespace: home.namespace, Name: "registry"},
	}
	config.Spec.Job.Namespace = runs.namespace
	n.create(config)

	for _, pipeline := range []modelv1alpha1.PipelineType{modelv1alpha1.PipelineStream, modelv1alpha1.PipelineKit} {
		t.Run(string(pipeline), func(t *testing.T) {
			a := n.artifact("isolated-"+strings.ToLower(string(pipeline)), pipeline, modelv1alpha1.PackFormatModelPack)
			a.Spec.ProviderConfigReference.Name = config.GetName()
			n.create(a)
			n.eventually("ready, and nothing of the run in the namespace", func() string {
				n.checkNothingRuns()
				if err := local.Client.Get(t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
					return err.Error()
				}
				if c := a.GetCondition(xpv2.TypeReady); c.Status != corev1.ConditionTrue {
					return string(c.Reason) + ": " + c.Message + "; " + a.GetCondition(xpv2.TypeSynced).Message
				}
				return ""
			})
			if ref := a.Status.AtProvider.JobRef; ref == nil || ref.Namespace != runs.namespace {
				t.Errorf("The run's Job should be in %s, got %v", runs.namespace, ref)
			}
			n.checkFiles(a, auth.Credential{Username: user, Password: password}, n.files)
			runs.checkClean()
			n.deleteAndCheck(a)
			runs.eventually("nothing left", func() string {
				left := ""
				for _, list := range []client.ObjectList{&batchv1.JobList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}, &corev1.SecretList{}} {
					for _, name := range runs.names(list) {
						left += name + " "
					}
				}
				return left
			})
		})
	}
}

// checkNothingRuns reports objects of runs in the tenant's namespace.
func (n *tenant) checkNothingRuns() {
	n.t.Helper()
	for _, list := range []client.ObjectList{&batchv1.JobList{}, &corev1.PodList{}, &corev1.PersistentVolumeClaimList{}, &corev1.SecretList{}} {
		if there := n.names(list); len(there) > 0 {
			n.t.Errorf("%T: the tenant's namespace has %v", list, there)
		}
	}
}
