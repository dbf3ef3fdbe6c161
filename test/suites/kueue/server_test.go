package kueue

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/crossplane-contrib/provider-kitops/test/internal/logtail"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

const (
	// webhookPort and healthPort are Kueue's, in the cluster's network.
	webhookPort, healthPort = 9443, 9440

	// certsPath is where Kueue looks for the certificate of its metrics, whatever its
	// configuration says (sigs.k8s.io/kueue v0.19.2, cmd/kueue/main.go).
	certsPath = "/etc/kueue/metrics/certs"

	startTimeout = 2 * time.Minute
)

// configuration of Kueue
// (https://kueue.sigs.k8s.io/docs/reference/kueue-config.v1beta2/).
const configuration = `apiVersion: config.kueue.x-k8s.io/v1beta2
kind: Configuration
namespace: kueue-system
webhook: {port: %d, host: 127.0.0.1, certDir: %s}
health: {healthProbeBindAddress: "127.0.0.1:%d"}
metrics: {bindAddress: "0"}
leaderElection: {leaderElect: false}
internalCertManagement: {enable: false}
integrations: {frameworks: [batch/job]}
featureGates: {VisibilityOnDemand: false}
`

// webhooks are those of Kueue's webhooks that are for Jobs and for Kueue's own kinds.
var webhooks = []string{
	"mjob.kb.io", "mclusterqueue.kb.io", "mresourceflavor.kb.io", "mworkload.kb.io",
	"vjob.kb.io", "vclusterqueue.kb.io", "vcohort.kb.io", "vresourceflavor.kb.io", "vworkload.kb.io",
}

// A server is Kueue as a process beside the cluster, with all rights in it.
type server struct {
	program string
	dir     string
	ca      []byte
	process *exec.Cmd

	// ended is closed when the process has ended.
	ended chan struct{}
}

// install applies Kueue's kinds, starts Kueue, and has the API server ask its webhooks.
func install(ctx context.Context, program, dir string) (*server, error) {
	s := &server{program: filepath.Join(program, "kueue"), dir: dir}
	config := filepath.Join(program, programs.KueueConfig)
	crds, err := filepath.Glob(filepath.Join(config, "crd", "bases", "*.yaml"))
	if err != nil || len(crds) == 0 {
		return s, errors.Errorf("cannot find Kueue's kinds in %s: %v", config, err)
	}
	for _, file := range crds {
		manifest, err := os.ReadFile(file)
		if err != nil {
			return s, errors.Wrap(err, "cannot read Kueue's kinds")
		}
		if err := local.Apply(ctx, manifest); err != nil {
			return s, err
		}
	}
	if out, err := local.Cluster.Kubectl(ctx, "wait", "crd", "--all", "--for=condition=Established", "--timeout=1m").CombinedOutput(); err != nil {
		return s, errors.Errorf("Kueue's kinds are not served: %s", out)
	}
	if err := local.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "kueue-system"}}); err != nil {
		return s, errors.Wrap(err, "cannot create Kueue's namespace")
	}
	if err := s.configure(); err != nil {
		return s, err
	}
	if err := s.start(ctx); err != nil {
		return s, err
	}
	return s, s.addWebhooks(ctx, filepath.Join(config, "webhook", "manifests.yaml"))
}

// configure writes Kueue's configuration and its certificate, which is its own authority.
func (s *server) configure() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kueue"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	s.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate})
	return errors.Join(
		os.MkdirAll(s.dir, 0o700),
		os.WriteFile(filepath.Join(s.dir, "tls.crt"), s.ca, 0o600),
		os.WriteFile(filepath.Join(s.dir, "tls.key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600),
		os.WriteFile(filepath.Join(s.dir, "config.yaml"), fmt.Appendf(nil, configuration, webhookPort, s.dir, healthPort), 0o600),
	)
}

// start starts Kueue and waits until it is ready. It ends with the test's process.
func (s *server) start(ctx context.Context) error {
	log, err := os.OpenFile(filepath.Join(s.dir, "kueue.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return errors.Wrap(err, "cannot open Kueue's log")
	}
	defer func() { _ = log.Close() }()
	// An /etc of its own has the certificate where Kueue looks for it, and nothing else.
	script := fmt.Sprintf(`mount -t tmpfs none /etc && mkdir -p "$(dirname %[1]s)" && ln -s "$1" %[1]s && exec "$0" --config="$1/config.yaml"`, certsPath)
	s.process = local.Cluster.Command(context.WithoutCancel(ctx), "unshare", "--mount", "sh", "-c", script, s.program, s.dir)
	s.process.Stdout, s.process.Stderr = log, log
	s.process.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.process.Start(); err != nil {
		return errors.Wrap(err, "cannot start Kueue")
	}
	s.ended = make(chan struct{})
	go func(p *exec.Cmd, ended chan<- struct{}) {
		_ = p.Wait() // Its log says why.
		close(ended)
	}(s.process, s.ended)
	err = wait.PollUntilContextTimeout(ctx, 500*time.Millisecond, startTimeout, true, s.ready)
	return errors.Wrapf(err, "Kueue is not ready; the end of its log:\n%s", logtail.File(log.Name(), logtail.Lines))
}

// ready reports whether Kueue is ready, as its health check says.
func (s *server) ready(ctx context.Context) (bool, error) {
	select {
	case <-s.ended:
		return false, errors.New("it has ended")
	default:
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d/readyz", healthPort), nil)
	if err != nil {
		return false, err
	}
	transport := &http.Transport{DialContext: local.Cluster.DialContext, DisableKeepAlives: true}
	answer, err := transport.RoundTrip(request)
	if err != nil {
		return false, nil //nolint:nilerr // It does not listen yet.
	}
	_ = answer.Body.Close()
	return answer.StatusCode == http.StatusOK, nil
}

// stop ends Kueue at once. Its webhooks stay.
func (s *server) stop() {
	if s == nil || s.process == nil || s.process.Process == nil {
		return
	}
	_ = s.process.Process.Kill()
	<-s.ended
	s.process = nil
}

// describe returns the Workloads and queues, and the end of Kueue's log.
func (s *server) describe(ctx context.Context) string {
	out, _ := local.Cluster.Kubectl(ctx, "get", "workloads,localqueues,clusterqueues", "--all-namespaces", "--output=yaml").CombinedOutput()
	return string(out) + logtail.File(filepath.Join(s.dir, "kueue.log"), 100)
}

// addWebhooks has the API server ask Kueue, of which it knows no Service but an address.
func (s *server) addWebhooks(ctx context.Context, file string) error {
	manifests, err := os.ReadFile(file)
	if err != nil {
		return errors.Wrap(err, "cannot read Kueue's webhooks")
	}
	for _, text := range bytes.Split(manifests, []byte("\n---\n")) {
		mutating, validating := &admissionv1.MutatingWebhookConfiguration{}, &admissionv1.ValidatingWebhookConfiguration{}
		if err := errors.Join(yaml.Unmarshal(text, mutating), yaml.Unmarshal(text, validating)); err != nil {
			return errors.Wrap(err, "cannot decode Kueue's webhooks")
		}
		mutating.Webhooks = slices.DeleteFunc(mutating.Webhooks, func(w admissionv1.MutatingWebhook) bool { return !slices.Contains(webhooks, w.Name) })
		validating.Webhooks = slices.DeleteFunc(validating.Webhooks, func(w admissionv1.ValidatingWebhook) bool { return !slices.Contains(webhooks, w.Name) })
		var o client.Object
		switch mutating.Kind {
		case "MutatingWebhookConfiguration":
			for i := range mutating.Webhooks {
				s.address(&mutating.Webhooks[i].ClientConfig)
			}
			o = mutating
		case "ValidatingWebhookConfiguration":
			for i := range validating.Webhooks {
				s.address(&validating.Webhooks[i].ClientConfig)
			}
			o = validating
		default:
			continue
		}
		if err := local.Client.Create(ctx, o); err != nil {
			return errors.Wrap(err, "cannot add Kueue's webhooks")
		}
	}
	return nil
}

// address has a webhook be asked at Kueue's address.
func (s *server) address(c *admissionv1.WebhookClientConfig) {
	path := ptr.Deref(c.Service, admissionv1.ServiceReference{}).Path
	c.Service, c.CABundle = nil, s.ca
	c.URL = ptr.To(fmt.Sprintf("https://127.0.0.1:%d%s", webhookPort, ptr.Deref(path, "")))
}
