package supervisor

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/internal/logtail"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/names"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

// What Crossplane's core is called and where it listens. The Secrets are named
// as in its Helm chart; the RBAC manager has the port 8080 and cannot do without.
const (
	coreProgram     = "crossplane-core"
	coreMetricsPort = "8090"
	coreHealthPort  = "8091"
	tlsCASecret     = "crossplane-root-ca"
	tlsClientSecret = "crossplane-tls-client"
	tlsServerSecret = "crossplane-tls-server"
)

// runCrossplane makes the cluster ready for Crossplane, starts its core and its
// RBAC manager and waits until they run. What it leaves running lives as long
// as ctx; bringing up may end sooner.
func (s *supervisor) runCrossplane(ctx, bringUp context.Context) error {
	c, err := client()
	if err != nil {
		return err
	}
	if err := s.kubectl(bringUp, "create", "--filename", state("config/crossplane.yaml")); err != nil {
		return errors.Wrap(err, "cannot make Crossplane's accounts")
	}
	if err := s.initCore(bringUp); err != nil {
		return err
	}
	if err := writeClientTLS(bringUp, c); err != nil {
		return err
	}
	if err := names.Run(ctx, c, layout.CrossplaneNamespace, state(layout.Hosts), logError); err != nil {
		return err
	}
	if _, err := s.startCommand("crossplane-rbac-manager", s.crossplane("rbac-manager", "rbac", "start")); err != nil {
		return err
	}
	core, err := s.startCommand("crossplane", s.crossplane("crossplane", "core", "start"))
	if err != nil {
		return err
	}
	if err := waitFor(bringUp, "Crossplane", core, dial("127.0.0.1:"+coreHealthPort)); err != nil {
		return err
	}
	s.step("Crossplane is ready")
	return nil
}

// initCore has Crossplane make its CRDs, certificates and first objects. That
// fails until the API server serves the CRDs and the account has its rights.
func (s *supervisor) initCore(ctx context.Context) error {
	args := []string{"core", "init"}
	for _, a := range s.spec.Crossplane.Activations {
		args = append(args, "--activation="+a)
	}
	log, err := os.OpenFile(logFile("crossplane-init"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return errors.Wrap(err, "cannot make a log for Crossplane's start")
	}
	defer log.Close()
	backoff := wait.Backoff{Duration: 200 * time.Millisecond, Factor: 1.5, Jitter: 0.1, Steps: 12}
	if err := wait.ExponentialBackoffWithContext(ctx, backoff, func(context.Context) (bool, error) {
		cmd := s.crossplane("crossplane", args...)
		cmd.Stdout, cmd.Stderr = log, log
		return cmd.Run() == nil, nil
	}); err != nil {
		return errors.Wrapf(err, "cannot make the cluster ready for Crossplane; the end of its log:\n%s\nlast", logtail.File(log.Name(), logtail.Lines))
	}
	return nil
}

// crossplane is one of Crossplane's programs, as the account whose kubeconfig
// is named. It says in the environment what its Helm chart says there.
func (s *supervisor) crossplane(account string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.programs, coreProgram), args...)
	cmd.Env = append(os.Environ(),
		"KUBECONFIG="+state(filepath.Join(layout.Config, account+".kubeconfig")),
		"POD_NAMESPACE="+layout.CrossplaneNamespace,
		"POD_SERVICE_ACCOUNT=crossplane",
		"CRDS_PATH="+s.crossplaneCRDs(),
		// The API server reaches no Service, and so no webhook.
		"ENABLE_WEBHOOKS=false",
		"TLS_CA_SECRET_NAME="+tlsCASecret,
		"TLS_CLIENT_SECRET_NAME="+tlsClientSecret,
		"TLS_SERVER_SECRET_NAME="+tlsServerSecret,
		"TLS_CLIENT_CERTS_DIR="+state(filepath.Join(layout.Crossplane, "tls")),
		"XPKG_CACHE_DIR="+state(filepath.Join(layout.Crossplane, "packages")),
		"METRICS_PORT="+coreMetricsPort,
		"HEALTH_PROBE_PORT="+coreHealthPort,
	)
	return cmd
}

// crossplaneCRDs is the folder of Crossplane's CRDs. Among the programs there is
// a link to it, which Crossplane does not follow.
func (s *supervisor) crossplaneCRDs() string {
	link := filepath.Join(s.programs, programs.CrossplaneCRDs)
	if dir, err := filepath.EvalSymlinks(link); err == nil {
		return dir
	}
	return link
}

// writeClientTLS writes the certificate by which Crossplane's core speaks to
// functions to where the core reads it. In a Pod that would be a volume.
func writeClientTLS(ctx context.Context, c kubernetes.Interface) error {
	if err := os.MkdirAll(state(filepath.Join(layout.Crossplane, "packages")), 0o755); err != nil {
		return errors.Wrap(err, "cannot make Crossplane's cache")
	}
	secret, err := c.CoreV1().Secrets(layout.CrossplaneNamespace).Get(ctx, tlsClientSecret, metav1.GetOptions{})
	if err != nil {
		return errors.Wrap(err, "cannot read Crossplane's certificate")
	}
	for file, data := range secret.Data {
		if err := writeFile(filepath.Join(layout.Crossplane, "tls", file), data); err != nil {
			return err
		}
	}
	return nil
}

// logError writes to the supervisor's log.
func logError(err error) { fmt.Fprintln(os.Stderr, err) }

// kubectl runs kubectl as admin.
func (s *supervisor) kubectl(ctx context.Context, args ...string) error {
	args = append([]string{"--kubeconfig", state(layout.Kubeconfig)}, args...)
	out, err := exec.CommandContext(ctx, filepath.Join(s.programs, "kubectl"), args...).CombinedOutput()
	return errors.Wrap(err, strings.TrimSpace(string(out)))
}
