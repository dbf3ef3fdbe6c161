package supervisor

import (
	"crypto/rand"
	"os"
	"path/filepath"

	"golang.org/x/crypto/bcrypt"
	"golang.org/x/sys/unix"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/config"
	"github.com/crossplane-contrib/provider-kitops/test/localcluster/internal/pki"
)

// admin is the user of the kubeconfig for people and tests.
const admin = "admin"

// The users that Crossplane's programs are: what a token of their service
// accounts would make them, but in a certificate.
const (
	crossplaneUser  = "system:serviceaccount:" + layout.CrossplaneNamespace + ":crossplane"
	rbacManagerUser = "system:serviceaccount:" + layout.CrossplaneNamespace + ":rbac-manager"
)

// writeFiles writes keys, certificates and configuration files.
func (s *supervisor) writeFiles() error {
	for _, dir := range []string{layout.Logs, layout.Hub, layout.Volumes, "etcd", "containerd", "registry", "registry-auth"} {
		if err := os.MkdirAll(state(dir), 0o755); err != nil {
			return errors.Wrap(err, "cannot make a directory of the state")
		}
	}
	if err := issue(); err != nil {
		return err
	}
	htpasswd, err := writePassword()
	if err != nil {
		return err
	}
	files, err := config.Files(config.Node{
		Snapshotter:    snapshotter(),
		Runc:           s.spec.Runc,
		CNI:            s.spec.CNI,
		RegistrySecret: rand.Text(),
	}, htpasswd)
	if err != nil {
		return err
	}
	for path, data := range files {
		if err := writeFile(filepath.Join(layout.Config, path), data); err != nil {
			return err
		}
	}
	return writeKubeconfigs()
}

// issue makes the authority and what it signs.
func issue() error {
	ca, err := pki.New(state(layout.PKI))
	if err != nil {
		return err
	}
	masters := []string{"system:masters"}
	accounts := []string{"system:serviceaccounts", "system:serviceaccounts:" + layout.CrossplaneNamespace}
	for name, subject := range map[string]pki.Subject{
		"apiserver": {
			CommonName: "kube-apiserver",
			Names:      []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"},
			IPs:        []string{"127.0.0.1", layout.NodeIP, layout.APIServiceIP},
		},
		"apiserver-kubelet-client":       {CommonName: "kube-apiserver-kubelet-client", Organization: masters},
		"kubelet":                        {CommonName: layout.NodeName, Names: []string{layout.NodeName}, IPs: []string{layout.NodeIP}},
		"hub":                            {CommonName: layout.HubHost, Names: []string{layout.HubHost}, IPs: []string{layout.NodeIP, layout.CDN}},
		admin:                            {CommonName: admin, Organization: masters},
		"system:kube-controller-manager": {CommonName: "system:kube-controller-manager"},
		"system:kube-scheduler":          {CommonName: "system:kube-scheduler"},
		"system:node:" + layout.NodeName: {CommonName: "system:node:" + layout.NodeName, Organization: []string{"system:nodes"}},
		crossplaneUser:                   {CommonName: crossplaneUser, Organization: accounts},
		rbacManagerUser:                  {CommonName: rbacManagerUser, Organization: accounts},
	} {
		if err := ca.Issue(name, subject); err != nil {
			return err
		}
	}
	_, err = ca.Key("service-accounts")
	return err
}

// writeKubeconfigs writes a kubeconfig for each client: the one for people to
// the state directory itself.
func writeKubeconfigs() error {
	for user, path := range map[string]string{
		admin:                            layout.Kubeconfig,
		"system:kube-controller-manager": "config/controller-manager.kubeconfig",
		"system:kube-scheduler":          "config/scheduler.kubeconfig",
		"system:node:" + layout.NodeName: "config/kubelet.kubeconfig",
		crossplaneUser:                   "config/crossplane.kubeconfig",
		rbacManagerUser:                  "config/rbac-manager.kubeconfig",
	} {
		data, err := config.Kubeconfig(state(layout.PKI), user)
		if err != nil {
			return err
		}
		if err := writeFile(path, data); err != nil {
			return err
		}
	}
	return nil
}

// writePassword makes the password of the registry that wants one, and returns
// the path of the registry's own file of it.
func writePassword() (string, error) {
	password := rand.Text()
	if err := writeFile(layout.Password, []byte(password)); err != nil {
		return "", err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		return "", errors.Wrap(err, "cannot hash the registry's password")
	}
	path := filepath.Join(layout.Config, "htpasswd")
	return state(path), writeFile(path, []byte(layout.User+":"+string(hash)+"\n"))
}

// snapshotter is the better snapshotter of those that work on the state
// directory's filesystem: one that is an overlay itself takes no further one.
func snapshotter() string {
	dir, err := os.MkdirTemp(layout.State, "overlay-")
	if err != nil {
		return "native"
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for _, d := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(dir, d), 0o755); err != nil {
			return "native"
		}
	}
	merged := filepath.Join(dir, "merged")
	options := "lowerdir=" + dir + "/lower,upperdir=" + dir + "/upper,workdir=" + dir + "/work"
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return "native"
	}
	_ = unix.Unmount(merged, unix.MNT_DETACH) // Goes with the namespace.
	return "overlayfs"
}

// writeFile writes a file of the state directory for root alone.
func writeFile(path string, data []byte) error {
	path = state(path)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return errors.Wrap(err, "cannot make a directory of the state")
	}
	return errors.Wrapf(os.WriteFile(path, data, 0o600), "cannot write %s", path)
}

// state is a path in the state directory.
func state(path string) string {
	return filepath.Join(layout.State, path)
}
