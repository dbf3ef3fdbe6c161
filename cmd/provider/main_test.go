package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	containerregistry "github.com/google/go-containerregistry/pkg/registry"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
)

const (
	// envMain makes the test's own program run as the provider.
	envMain = "PROVIDER_TEST_IS_PROVIDER"

	// patience is how long a test waits for the provider.
	patience = time.Minute
)

func TestMain(m *testing.M) {
	if os.Getenv(envMain) != "" {
		main()
		return
	}
	os.Exit(apiserver.Main(m))
}

// A provider is a process of the provider that acts as an account.
type provider struct {
	t       *testing.T
	kube    client.Client
	account *accesstest.Account
	metrics string
	log     *syncBuffer
	done    chan error
	process *os.Process
}

// newProvider returns a provider that has not started, whose account has no
// permissions.
func newProvider(t *testing.T) *provider {
	t.Helper()
	kube := apiserver.Client(t)
	return &provider{t: t, kube: kube, account: accesstest.NewAccount(kube, apiserver.Namespace(t, kube)), log: &syncBuffer{}}
}

// start starts it with these variables and flags, until the test ends.
func (p *provider) start(env []string, flags ...string) {
	p.t.Helper()
	p.metrics = freeAddress(p.t)
	cmd := exec.Command(os.Args[0], append([]string{"--metrics-bind-address=" + p.metrics, "--health-probe-bind-addr=" + freeAddress(p.t), "--poll-state-metric=100ms"}, flags...)...)
	cmd.Env = append(append(os.Environ(), env...), envMain+"=true", "KUBECONFIG="+writeKubeconfig(p.t, p.account.Config(apiserver.Config(p.t))))
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		p.t.Fatal(err)
	}
	p.process, p.done = cmd.Process, make(chan error, 1)
	go func() { p.done <- cmd.Wait() }()
	p.t.Cleanup(p.stop)
}

// stop stops it, and checks that it shuts down cleanly.
func (p *provider) stop() {
	_ = p.process.Signal(syscall.SIGTERM)
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Errorf("the provider failed: %v\n%s", err, p.log)
		}
	case <-time.After(patience):
		_ = p.process.Kill()
		p.t.Errorf("the provider does not stop\n%s", p.log)
	}
	if p.t.Failed() {
		p.t.Logf("the provider's log:\n%s", p.log)
	}
}

// waitLog waits until the log contains a text.
func (p *provider) waitLog(says string) {
	p.t.Helper()
	p.eventually("log", func() string {
		if !strings.Contains(p.log.String(), says) {
			return "does not contain " + says
		}
		return ""
	})
}

// artifact creates an Artifact and its ProviderConfig.
func (p *provider) artifact(name string) *modelv1alpha1.Artifact {
	p.t.Helper()
	// The provider reads the registry before it starts a run.
	registry := httptest.NewServer(containerregistry.New(containerregistry.Logger(log.New(io.Discard, "", 0))))
	p.t.Cleanup(registry.Close)
	config := &v1alpha1.ProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.account.Namespace},
		Spec: v1alpha1.ProviderConfigSpec{Registry: v1alpha1.RegistryConfig{
			Host: v1alpha1.RegistryHost(registry.Listener.Addr().String()), PlainHTTP: true,
			Credentials: v1alpha1.RegistryCredentials{Source: xpv2.CredentialsSourceNone},
		}},
	}
	a := &modelv1alpha1.Artifact{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: p.account.Namespace},
		Spec: modelv1alpha1.ArtifactSpec{
			ManagedResourceSpec: xpv2.ManagedResourceSpec{ProviderConfigReference: &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: name}},
			ForProvider: modelv1alpha1.ArtifactParameters{
				Source: &modelv1alpha1.Source{HuggingFace: &modelv1alpha1.HuggingFaceSource{Model: "org/model"}},
				// No other test pushes there.
				Target:   &modelv1alpha1.Target{Repository: "models/" + p.account.Namespace},
				Pipeline: modelv1alpha1.PipelineStream,
			},
		},
	}
	for _, o := range []client.Object{config, a} {
		p.eventually("create", func() string {
			// The API server may not serve a new kind at once.
			if err := p.kube.Create(p.t.Context(), o); err != nil {
				return err.Error()
			}
			return ""
		})
	}
	return a
}

// workerOf waits for an Artifact's Job and returns the image of its worker.
func (p *provider) workerOf(a *modelv1alpha1.Artifact) string {
	p.t.Helper()
	image := ""
	p.eventually("Job of "+a.GetName(), func() string {
		jobs := &batchv1.JobList{}
		if err := p.kube.List(p.t.Context(), jobs, client.InNamespace(a.GetNamespace())); err != nil {
			return err.Error()
		}
		for i := range jobs.Items {
			if metav1.IsControlledBy(&jobs.Items[i], a) {
				image = jobs.Items[i].Spec.Template.Spec.Containers[0].Image
				return ""
			}
		}
		if err := p.kube.Get(p.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
			return err.Error()
		}
		return fmt.Sprintf("there is none: %v", a.Status.Conditions)
	})
	return image
}

// metric returns the line of a metric, or "" if there is none.
func (p *provider) metric(name string) string {
	p.t.Helper()
	rsp, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		return ""
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(data)) {
		if strings.HasPrefix(line, name) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// eventually waits until check returns an empty text.
func (p *provider) eventually(what string, check func() string) {
	p.t.Helper()
	last := ""
	err := wait.PollUntilContextTimeout(p.t.Context(), 50*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		last = check()
		return last == "", nil
	})
	if err != nil {
		p.t.Fatalf("%s: %s", what, last)
	}
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// writeKubeconfig writes a kubeconfig for another program.
func writeKubeconfig(t *testing.T, c *rest.Config) string {
	t.Helper()
	k := clientcmdapi.NewConfig()
	k.Clusters["test"] = &clientcmdapi.Cluster{Server: c.Host, CertificateAuthorityData: c.CAData}
	k.AuthInfos["test"] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData, Impersonate: c.Impersonate.UserName}
	k.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "test"}
	k.CurrentContext = "test"
	if !strings.Contains(c.Host, "://") {
		k.Clusters["test"].Server = "https://" + c.Host
	}
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*k, file); err != nil {
		t.Fatal(err)
	}
	return file
}

// A syncBuffer is a buffer that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
