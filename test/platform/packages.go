package platform

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	pkgv1 "github.com/crossplane/crossplane/apis/v2/pkg/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/cluster/images"
)

// organisation is where packages are in the cluster's registry.
const organisation = "crossplane-contrib"

// PushProvider builds the provider's package in this version and pushes it to
// the cluster's registry. It returns the package's reference for Crossplane.
func (l *Local) PushProvider(ctx context.Context, version string) (string, error) {
	x, err := images.BuildXpkg(ctx, images.XpkgOptions{Version: version, Archs: []string{runtime.GOARCH}, Root: l.root})
	if err != nil {
		return "", err
	}
	registry := l.RegistryHost + "/" + organisation
	if _, err := x.Push(ctx, registry, images.PushOptions{PlainHTTP: true, Transport: l.transport}); err != nil {
		return "", err
	}
	return registry + "/provider-kitops:" + version, nil
}

// A Function is a composition function to install: a Go program that serves on
// the port and with the certificates that Crossplane gives it.
type Function struct {
	// Name of the function, as Compositions name it.
	Name string

	// Dir is the folder that the go command runs in: one of the module that
	// has the program.
	Dir string

	// Program is the path or the import path of the program's package.
	Program string
}

// InstallFunction builds the function's package, pushes it to the cluster's
// registry, installs it and waits until it is healthy. It needs a platform of
// NewCrossplane's.
func (l *Local) InstallFunction(ctx context.Context, f Function) error {
	reference := l.RegistryHost + "/" + organisation + "/" + f.Name + ":v1"
	if err := l.pushFunction(ctx, f, reference); err != nil {
		return errors.Wrapf(err, "cannot push function %s", f.Name)
	}
	installed := &pkgv1.Function{
		ObjectMeta: metav1.ObjectMeta{Name: f.Name},
		Spec:       pkgv1.FunctionSpec{PackageSpec: pkgv1.PackageSpec{Package: reference}},
	}
	if err := client.IgnoreAlreadyExists(l.Client.Create(ctx, installed)); err != nil {
		return errors.Wrapf(err, "cannot install function %s", f.Name)
	}
	return l.WaitHealthy(ctx, installed)
}

// pushFunction builds a function's package and pushes it, by the tools that a
// function's author has.
func (l *Local) pushFunction(ctx context.Context, f Function, reference string) error {
	dir, err := os.MkdirTemp("", "function-")
	if err != nil {
		return errors.Wrap(err, "cannot make a folder for the package")
	}
	defer func() { _ = os.RemoveAll(dir) }()
	image, xpkg := filepath.Join(dir, "image.tar"), filepath.Join(dir, "function.xpkg")
	if err := images.Build(ctx, image, images.Options{
		Name: f.Name + ":v1", Dir: f.Dir, Programs: map[string]string{"/function": f.Program},
		Entrypoint: []string{"/function"}, User: "65532",
	}); err != nil {
		return err
	}
	root := filepath.Join(dir, "package")
	if err := os.Mkdir(root, 0o755); err != nil {
		return errors.Wrap(err, "cannot make a folder for the package")
	}
	meta := fmt.Sprintf("apiVersion: meta.pkg.crossplane.io/v1\nkind: Function\nmetadata: {name: %s}\n", f.Name)
	if err := os.WriteFile(filepath.Join(root, "crossplane.yaml"), []byte(meta), 0o600); err != nil {
		return errors.Wrap(err, "cannot write the package's metadata")
	}
	for _, cmd := range []*exec.Cmd{
		l.Cluster.CrossplaneCLI(ctx, "xpkg", "build", "--package-root="+root, "--embed-runtime-image-tarball="+image, "--package-file="+xpkg),
		l.Cluster.CrossplaneCLI(ctx, "xpkg", "push", "--package-files="+xpkg, reference),
	} {
		if out, err := cmd.CombinedOutput(); err != nil {
			return errors.Wrapf(err, "crossplane xpkg: %s", strings.TrimSpace(string(out)))
		}
	}
	return nil
}

// WaitHealthy waits until a package is installed and healthy in the version
// that it asks for, which it reads into the object.
func (l *Local) WaitHealthy(ctx context.Context, p pkgv1.Package) error {
	err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, readyTimeout, true, func(ctx context.Context) (bool, error) {
		if err := l.Client.Get(ctx, client.ObjectKeyFromObject(p), p); err != nil {
			return false, client.IgnoreNotFound(err)
		}
		for _, kind := range []xpv2.ConditionType{pkgv1.TypeInstalled, pkgv1.TypeHealthy} {
			c := p.GetCondition(kind)
			if c.Status != corev1.ConditionTrue || c.ObservedGeneration != p.GetGeneration() {
				return false, nil
			}
		}
		return p.GetCurrentIdentifier() == p.GetSource(), nil
	})
	healthy, installed := p.GetCondition(pkgv1.TypeHealthy), p.GetCondition(pkgv1.TypeInstalled)
	return errors.Wrapf(err, "package %s is not healthy: %s %s; %s %s",
		p.GetName(), installed.Reason, installed.Message, healthy.Reason, healthy.Message)
}
