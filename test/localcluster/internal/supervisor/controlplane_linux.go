package supervisor

import (
	"context"
	"net"

	"golang.org/x/sync/errgroup"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/provisioner"
)

// etcdAddress is where the API server finds etcd.
const etcdAddress = "127.0.0.1:2379"

// runControlPlane starts etcd, the API server and, when that is ready, the
// controllers and the scheduler.
func (s *supervisor) runControlPlane(ctx context.Context) error {
	etcd, err := s.start("etcd", etcdArgs()...)
	if err != nil {
		return err
	}
	if err := waitFor(ctx, "etcd", etcd, dial(etcdAddress)); err != nil {
		return err
	}
	apiserver, err := s.start("kube-apiserver", apiserverArgs()...)
	if err != nil {
		return err
	}
	c, err := client()
	if err != nil {
		return err
	}
	if err := waitFor(ctx, "the API server", apiserver, func(ctx context.Context) error {
		return c.Discovery().RESTClient().Get().AbsPath("/readyz").Do(ctx).Error()
	}); err != nil {
		return err
	}
	s.step("the API server is ready")
	if _, err := s.start("kube-scheduler",
		"--kubeconfig="+state("config/scheduler.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1"); err != nil {
		return err
	}
	_, err = s.start("kube-controller-manager", controllerManagerArgs()...)
	return err
}

func etcdArgs() []string {
	const peer = "http://127.0.0.1:2380"
	return []string{
		"--name=" + layout.NodeName, "--data-dir=" + state("etcd"),
		"--listen-client-urls=http://" + etcdAddress, "--advertise-client-urls=http://" + etcdAddress,
		"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=" + layout.NodeName + "=" + peer,
		"--unsafe-no-fsync", // A cluster to throw away need not survive a power cut.
	}
}

func apiserverArgs() []string {
	pki := state(layout.PKI)
	return []string{
		"--etcd-servers=http://" + etcdAddress,
		"--advertise-address=" + layout.NodeIP, "--secure-port=6443",
		"--service-cluster-ip-range=" + layout.ServiceSubnet,
		"--tls-cert-file=" + pki + "/apiserver.crt", "--tls-private-key-file=" + pki + "/apiserver.key",
		"--client-ca-file=" + pki + "/ca.crt",
		"--kubelet-certificate-authority=" + pki + "/ca.crt",
		"--kubelet-client-certificate=" + pki + "/apiserver-kubelet-client.crt",
		"--kubelet-client-key=" + pki + "/apiserver-kubelet-client.key",
		"--kubelet-preferred-address-types=InternalIP",
		"--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-key-file=" + pki + "/service-accounts.key",
		"--service-account-signing-key-file=" + pki + "/service-accounts.key",
		"--authorization-mode=Node,RBAC",
		"--allow-privileged",
	}
}

func controllerManagerArgs() []string {
	pki := state(layout.PKI)
	return []string{
		"--kubeconfig=" + state("config/controller-manager.kubeconfig"), "--leader-elect=false", "--bind-address=127.0.0.1",
		"--use-service-account-credentials",
		"--node-monitor-period=500ms",                // A node that is ready loses its taint no sooner.
		"--kube-api-qps=200", "--kube-api-burst=400", // It makes some forty service accounts at its start.
		"--service-account-private-key-file=" + pki + "/service-accounts.key",
		"--root-ca-file=" + pki + "/ca.crt",
		"--flex-volume-plugin-dir=" + state("volume-plugins"),
	}
}

// runNode starts the kubelet and the provisioner of volumes and waits until
// Pods can run.
func (s *supervisor) runNode(ctx context.Context) error {
	kubelet, err := s.start("kubelet",
		"--config="+state("config/kubelet.yaml"), "--kubeconfig="+state("config/kubelet.kubeconfig"),
		"--hostname-override="+layout.NodeName, "--node-ip="+layout.NodeIP)
	if err != nil {
		return err
	}
	c, err := client()
	if err != nil {
		return err
	}
	if err := provisioner.Install(ctx, c); err != nil {
		return err
	}
	go provisioner.Run(ctx, c, state(layout.Volumes))
	g, gctx := errgroup.WithContext(ctx)
	g.Go(func() error {
		return waitFor(gctx, "the node to be ready", kubelet, func(ctx context.Context) error { return nodeReady(ctx, c) })
	})
	g.Go(func() error {
		return waitFor(gctx, "the default service account", kubelet, func(ctx context.Context) error {
			_, err := c.CoreV1().ServiceAccounts(metav1.NamespaceDefault).Get(ctx, "default", metav1.GetOptions{})
			return err
		})
	})
	if err := g.Wait(); err != nil {
		return err
	}
	s.step("the node is ready")
	return nil
}

// nodeReady is an error as long as no Pod can be scheduled to the node.
func nodeReady(ctx context.Context, c kubernetes.Interface) error {
	node, err := c.CoreV1().Nodes().Get(ctx, layout.NodeName, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(node.Spec.Taints) > 0 {
		return errors.Errorf("the node has the taint %s", node.Spec.Taints[0].Key)
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return errors.Errorf("%s: %s", condition.Reason, condition.Message)
		}
		if condition.Type == corev1.NodeReady {
			return nil
		}
	}
	return errors.New("the node has no condition Ready")
}

// client is a client of the API server, as admin.
func client() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", state(layout.Kubeconfig))
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the kubeconfig")
	}
	c, err := kubernetes.NewForConfig(config)
	return c, errors.Wrap(err, "cannot make a client of the API server")
}

// dial checks that something listens.
func dial(address string) func(context.Context) error {
	return func(ctx context.Context) error {
		conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
		if err != nil {
			return err
		}
		return conn.Close()
	}
}
