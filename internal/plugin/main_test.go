package plugin_test

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/plugin"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

func TestMain(m *testing.M) { os.Exit(apiserver.Main(m)) }

// kubeconfig writes a kubeconfig for a server, and returns its path.
func kubeconfig(t *testing.T, c *rest.Config) string {
	t.Helper()
	config := clientcmdapi.NewConfig()
	config.Clusters["test"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	config.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Token: c.BearerToken}
	config.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	config.CurrentContext = "test"
	path := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		t.Fatal(err)
	}
	return path
}

// A kubectl calls the plugin as kubectl does.
type kubectl struct {
	kubeconfig string
	namespace  string
}

// result is what a call of the plugin printed.
type result struct {
	code     int
	out, err string
}

// run runs the plugin with arguments, and an answer to what it asks.
func (k kubectl) run(t *testing.T, answer string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	code := plugin.Run(t.Context(), k.args(args), plugin.Streams{In: strings.NewReader(answer), Out: &out, Err: &errs})
	return result{code: code, out: out.String(), err: errs.String()}
}

// args returns all arguments of a call.
func (k kubectl) args(args []string) []string {
	all := append([]string{"/usr/local/bin/kubectl-kitops"}, args...)
	all = append(all, "--kubeconfig", k.kubeconfig)
	if k.namespace != "" {
		all = append(all, "-n", k.namespace)
	}
	return all
}

// A buffer is written and read at the same time.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// world is an API server with a namespace of Artifacts.
type world struct {
	kubectl
	client.Client
}

// newWorld returns the API server that the tests share, and a namespace of the test's own.
func newWorld(t *testing.T) world {
	t.Helper()
	c := apiserver.Client(t)
	ns := apiserver.Namespace(t, c)
	return world{kubectl: kubectl{kubeconfig: kubeconfig(t, apiserver.Config(t)), namespace: ns}, Client: c}
}

// artifact creates an Artifact with a status.
func (w world) artifact(t *testing.T, name string, status modelv1alpha1.ArtifactObservation, conditions ...xpv2.Condition) *modelv1alpha1.Artifact {
	t.Helper()
	a := &modelv1alpha1.Artifact{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name}}
	a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ClusterProviderConfig", Name: "default"}
	a.Spec.ForProvider = modelv1alpha1.ArtifactParameters{
		Source: &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "Qwen/Qwen3-0.6B"}},
		Target: &modelv1alpha1.Target{Repository: "models/" + name, Tag: "v1"},
	}
	if err := w.Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	w.set(t, a, status, conditions...)
	return a
}

// set sets the status of an Artifact.
func (w world) set(t *testing.T, a *modelv1alpha1.Artifact, status modelv1alpha1.ArtifactObservation, conditions ...xpv2.Condition) {
	t.Helper()
	a.Status.AtProvider = status
	a.Status.SetConditions(conditions...)
	if err := w.Status().Update(t.Context(), a); err != nil {
		t.Fatal(err)
	}
}

// get returns an Artifact as it is.
func (w world) get(t *testing.T, name string) *modelv1alpha1.Artifact {
	t.Helper()
	a := &modelv1alpha1.Artifact{}
	if err := w.Get(t.Context(), client.ObjectKey{Namespace: w.namespace, Name: name}, a); err != nil {
		t.Fatal(err)
	}
	return a
}

// notReady returns a condition Ready that is False.
func notReady(reason, message string) xpv2.Condition {
	return xpv2.Condition{Type: xpv2.TypeReady, Status: corev1.ConditionFalse, Reason: xpv2.ConditionReason(reason), Message: message, LastTransitionTime: metav1.NewTime(time.Now().Add(-20 * time.Minute))}
}

// running is the status of an Artifact whose run is half done.
func running() modelv1alpha1.ArtifactObservation {
	return modelv1alpha1.ArtifactObservation{Phase: modelv1alpha1.PhaseRunning, Run: 1, Progress: &modelv1alpha1.ProgressObservation{
		Step: "copy", Percent: 50, BytesDone: 20 << 30, BytesTotal: 40 << 30, BytesPerSecond: 100 << 20, TimeLeft: &metav1.Duration{Duration: 3*time.Minute + 20*time.Second},
	}}
}

// succeeded is the status of an Artifact that is ready.
func succeeded() modelv1alpha1.ArtifactObservation {
	return modelv1alpha1.ArtifactObservation{
		Phase: modelv1alpha1.PhaseSucceeded, Run: 1, Size: 3 << 30, Digest: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
		Reference: "registry.example.com/models/ready:v1", PinnedReference: "registry.example.com/models/ready@sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
	}
}

// failed is the status of an Artifact whose run has failed for a reason.
func failed(reason string, tail ...string) modelv1alpha1.ArtifactObservation {
	return modelv1alpha1.ArtifactObservation{
		Phase: modelv1alpha1.PhaseFailed, Run: 3, Failures: 2, Failure: &modelv1alpha1.FailureObservation{Reason: reason, Message: "It did not work.", LogTail: tail},
		JobRef: &modelv1alpha1.JobReference{Namespace: "kitops-runs", Name: "failed-abc"},
	}
}

// start runs the plugin until the function that it returns is called, which returns the
// exit code.
func (k kubectl) start(t *testing.T, s plugin.Streams, args ...string) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	code := make(chan int, 1)
	go func() { code <- plugin.Run(ctx, k.args(args), s) }()
	return func() int { cancel(); return <-code }
}
