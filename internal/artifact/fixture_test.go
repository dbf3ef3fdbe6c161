package artifact

import (
	"encoding/json"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/crossplane-contrib/provider-kitops/apis"
	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
)

const (
	testNamespace = "team-a"
	testName      = "qwen3"
	testUID       = types.UID("11111111-1111-1111-1111-111111111111")
	otherUID      = types.UID("22222222-2222-2222-2222-222222222222")
	testKitImage  = "example.com/kit:v1"

	// holdFinalizer keeps a deleted object, as Kubernetes keeps a claim that a
	// Pod still uses.
	holdFinalizer = "example.com/hold"
)

// An artifactModifier changes an Artifact that a test makes.
type artifactModifier func(*modelv1alpha1.Artifact)

// newArtifact returns an Artifact as the API server gives it to the controller.
func newArtifact(modify ...artifactModifier) *modelv1alpha1.Artifact {
	a := &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Namespace: testNamespace, Name: testName, UID: testUID},
		Spec: modelv1alpha1.ArtifactSpec{ForProvider: modelv1alpha1.ArtifactParameters{
			Source:   &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "Qwen/Qwen3-0.6B", Revision: "main"}},
			Target:   &modelv1alpha1.Target{Registry: "registry.example.com", Repository: "models/qwen3", Tag: "v1"},
			Format:   modelv1alpha1.PackFormatModelPack,
			Pipeline: modelv1alpha1.PipelineKit,
		}},
	}
	for _, m := range modify {
		m(a)
	}
	return a
}

func withName(name string) artifactModifier {
	return func(a *modelv1alpha1.Artifact) { a.SetName(name) }
}

func withUID(uid types.UID) artifactModifier {
	return func(a *modelv1alpha1.Artifact) { a.SetUID(uid) }
}

func withParameters(change func(*modelv1alpha1.ArtifactParameters)) artifactModifier {
	return func(a *modelv1alpha1.Artifact) { change(&a.Spec.ForProvider) }
}

func withStream() artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) { p.Pipeline = modelv1alpha1.PipelineStream })
}

func withModel(model, revision string) artifactModifier {
	return withParameters(func(p *modelv1alpha1.ArtifactParameters) {
		p.Source = &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: model, Revision: revision}}
	})
}

func withRun(r Run) artifactModifier {
	return func(a *modelv1alpha1.Artifact) { a.SetAnnotations(r.Annotations()) }
}

func withEffective(e modelv1alpha1.Effective) artifactModifier {
	return func(a *modelv1alpha1.Artifact) { a.Effective = e }
}

// withEverything sets all that an Artifact and its ProviderConfig can say.
func withEverything() artifactModifier {
	return func(a *modelv1alpha1.Artifact) {
		p := &a.Spec.ForProvider
		p.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: "hf", Key: "t"}
		p.Target.CredentialsSecretRef = &xpv2.LocalSecretReference{Name: "push"}
		p.Job = &v1alpha1.JobSettings{Labels: map[string]string{"team": "research"}, NodeSelector: map[string]string{"disk": "fast"}}
		a.Effective = modelv1alpha1.Effective{
			Registry:            "registry.example.com",
			RegistryCredentials: SecretKey("config", corev1.DockerConfigJsonKey),
			RegistryCA:          SecretKey("registry-ca", "ca.crt"),
			HubEndpoint:         "https://hub.example.com",
			HubToken:            SecretKey("config-hf", "token"),
			HubCA:               SecretKey("hub-ca", "ca.crt"),
			WorkerImage:         "example.com/worker:v1",
			ServiceAccountName:  "models",
			ImagePullSecrets:    []corev1.LocalObjectReference{{Name: "pull"}},
			Env:                 []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://proxy:3128"}},
			HostAliases:         []corev1.HostAlias{{IP: "10.0.0.1", Hostnames: []string{"hub.example.com"}}},
			Job:                 &v1alpha1.JobSettings{Annotations: map[string]string{"note": "config"}},
		}
	}
}

// newScheme returns a scheme with all kinds of the tests.
func newScheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apis.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// newClient returns a client of a fake API server with these objects. Calls
// go through the interceptor first.
func newClient(t *testing.T, calls interceptor.Funcs, objects ...client.Object) client.WithWatch {
	t.Helper()
	return fake.NewClientBuilder().WithScheme(newScheme(t)).WithObjects(objects...).WithInterceptorFuncs(calls).Build()
}

// An objectModifier changes an object that a test makes.
type objectModifier func(client.Object)

// ownedBy makes an Artifact's controller reference.
func ownedBy(uid types.UID) objectModifier {
	return func(o client.Object) {
		o.SetOwnerReferences([]metav1.OwnerReference{{
			APIVersion: modelv1alpha1.SchemeGroupVersion.String(),
			Kind:       "Artifact",
			Name:       testName,
			UID:        uid,
			Controller: ptr.To(true),
		}})
	}
}

// mentions makes an owner reference that is no controller's.
func mentions(uid types.UID) objectModifier {
	return func(o client.Object) {
		ownedBy(uid)(o)
		refs := o.GetOwnerReferences()
		refs[0].Controller = nil
		o.SetOwnerReferences(refs)
	}
}

// terminating makes an object that is being deleted.
func terminating() objectModifier {
	return func(o client.Object) {
		now := metav1.Now()
		o.SetDeletionTimestamp(&now)
		o.SetFinalizers([]string{holdFinalizer})
	}
}

func labelled(labels map[string]string) objectModifier {
	return func(o client.Object) { o.SetLabels(labels) }
}

func inNamespace(namespace string) objectModifier {
	return func(o client.Object) { o.SetNamespace(namespace) }
}

func modified(o client.Object, name string, modify []objectModifier) {
	o.SetNamespace(testNamespace)
	o.SetName(name)
	for _, m := range modify {
		m(o)
	}
}

func newJob(name string, modify ...objectModifier) *batchv1.Job {
	j := &batchv1.Job{}
	modified(j, name, append([]objectModifier{labelled(SelectorLabelsForArtifact(testName))}, modify...))
	return j
}

func newPVC(modify ...objectModifier) *corev1.PersistentVolumeClaim {
	p := &corev1.PersistentVolumeClaim{}
	modified(p, PVCName(testName), modify)
	return p
}

// newSecret returns a Secret as EnsureSecret makes it.
func newSecret(data map[string][]byte, modify ...objectModifier) *corev1.Secret {
	s := &corev1.Secret{Type: SecretTypeCredentials, Data: data}
	modified(s, testName+"-credentials-x", append([]objectModifier{labelled(SelectorLabelsForArtifact(testName))}, modify...))
	return s
}

// ofType gives a Secret another type.
func ofType(t corev1.SecretType) objectModifier {
	return func(o client.Object) {
		if s, ok := o.(*corev1.Secret); ok {
			s.Type = t
		}
	}
}

// ignoreBuildHashes compares annotations without what was asked for.
func ignoreBuildHashes() cmp.Option {
	return cmpopts.IgnoreMapEntries(func(key, _ string) bool { return key == AnnotationBuildHash || key == AnnotationImagesHash })
}

// encoded returns an object as the API server gets it.
func encoded(t *testing.T, o any) string {
	t.Helper()
	out, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}
