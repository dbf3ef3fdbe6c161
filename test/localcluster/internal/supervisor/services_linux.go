package supervisor

import (
	"context"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
)

// runContainerd starts containerd and gives it the pause image.
func (s *supervisor) runContainerd(ctx context.Context) error {
	containerd, err := s.start("containerd", "--config="+state("config/containerd.toml"))
	if err != nil {
		return err
	}
	if err := waitFor(ctx, "containerd", containerd, func(ctx context.Context) error {
		return s.ctr(ctx, "plugins", "ls", "-q")
	}); err != nil {
		return err
	}
	if err := s.ctr(ctx, "images", "import", state(s.spec.PauseTar)); err != nil {
		return errors.Wrap(err, "cannot give containerd the pause image")
	}
	s.step("containerd is ready")
	return nil
}

// ctr runs containerd's client.
func (s *supervisor) ctr(ctx context.Context, args ...string) error {
	args = append([]string{"--address", layout.ContainerdSocket, "--namespace", "k8s.io"}, args...)
	out, err := exec.CommandContext(ctx, filepath.Join(s.programs, "ctr"), args...).CombinedOutput()
	return errors.Wrap(err, strings.TrimSpace(string(out)))
}

// runRegistries starts the open registry and the one that wants a password.
func (s *supervisor) runRegistries(ctx context.Context) error {
	for name, address := range map[string]string{"registry": layout.Registry, "registry-auth": layout.AuthRegistry} {
		p, err := s.startAs(name, "registry", "serve", state(filepath.Join(layout.Config, name+".yaml")))
		if err != nil {
			return err
		}
		if err := waitFor(ctx, "the registry at "+address, p, dial(address)); err != nil {
			return err
		}
	}
	s.step("the registries are ready")
	return nil
}
