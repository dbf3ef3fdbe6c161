// Package programs builds the real programs that tests run (Kubernetes, etcd,
// containerd, a registry, Crossplane, cosign, servers of buckets, Kueue, Prometheus, oras)
// from Go modules, once: a build stays in the
// user's cache directory under a key of its sources, and is reused until these
// change.
//
// Each program's module is in test/programs/modules, with a go.mod of its own,
// because their dependencies do not agree with each other. The path that a
// module calls itself is part of its key, and not where the module is: renaming
// one would rebuild its programs on every machine.
package programs

import (
	"context"
	"io"
	"os"
	"path/filepath"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Name names a module of programs.
type Name string

// The modules, as their folders are called.
const (
	Kubernetes Name = "kubernetes" // kube-apiserver, kube-controller-manager, kube-scheduler, kubectl; on Linux kubelet
	Etcd       Name = "etcd"       // etcd
	Containerd Name = "containerd" // containerd, containerd-shim-runc-v2, ctr
	Registry   Name = "registry"   // registry
	Pause      Name = "pause"      // pause

	Crossplane    Name = "crossplane"     // crossplane-core (core and RBAC manager), and the folder CrossplaneCRDs
	CrossplaneCLI Name = "crossplane-cli" // crossplane, the command line

	Cosign Name = "cosign" // cosign, which verifies signatures

	VersityGW Name = "versitygw"       // versitygw, a server of S3's protocol
	FakeGCS   Name = "fake-gcs-server" // fake-gcs-server, a server of Google Cloud Storage

	Kueue      Name = "kueue"      // kueue, which queues Jobs, and the folder KueueConfig
	Prometheus Name = "prometheus" // prometheus and promtool

	ORAS Name = "oras" // oras, which pulls artifacts
)

// KubernetesVersion is the version that the Kubernetes programs say they are.
// It follows modules/kubernetes/go.mod.
const KubernetesVersion = "v1.37.2"

// CrossplaneVersion is the version that Crossplane says it is, and
// CrossplaneCLIVersion the one of its command line. They follow
// modules/crossplane/go.mod and modules/crossplane-cli/go.mod.
const (
	CrossplaneVersion    = "v2.4.0"
	CrossplaneCLIVersion = "v2.5.0"
)

// CrossplaneCRDs is the folder of Crossplane's own CRDs, among the programs.
const CrossplaneCRDs = "crossplane-crds"

// KueueConfig is the folder of Kueue's CRDs and webhooks, among the programs.
const KueueConfig = "kueue-config"

// A recipe says how a module is built and by which names it is called.
type recipe struct {
	target  string   // the package pattern to build
	binary  string   // what the build is called where links are made to it
	links   []string // the names to link to binary
	linux   []string // further links, on Linux
	ldflags string
	tags    string // the build tags
	data    data   // what the build holds besides programs
}

// data is a folder that comes with a module.
type data struct {
	module string // the module's path
	dir    string // the folder in it
	name   string // what the folder is called in the build
}

// recipes are how the modules are built.
func recipes() map[Name]recipe {
	const stamp = "-X k8s.io/component-base/version.gitVersion=" + KubernetesVersion +
		" -X k8s.io/client-go/pkg/version.gitVersion=" + KubernetesVersion
	const crossplane = "-s -w -X github.com/crossplane/crossplane-runtime/v2/pkg/version.version="
	return map[Name]recipe{
		Kubernetes: {
			target:  ".",
			binary:  "kube",
			links:   []string{"kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl"},
			linux:   []string{"kubelet"},
			ldflags: "-s -w " + stamp,
		},
		Etcd:       {target: ".", binary: "etcd", ldflags: "-s -w"},
		Containerd: {target: "tool", ldflags: "-s -w"},
		Registry:   {target: "tool", ldflags: "-s -w"},
		Pause:      {target: ".", binary: "pause", ldflags: "-s -w"},
		Crossplane: {
			target:  "tool",
			binary:  "crossplane-core",
			ldflags: crossplane + CrossplaneVersion,
			data:    data{module: "github.com/crossplane/crossplane/v2", dir: "cluster/crds", name: CrossplaneCRDs},
		},
		CrossplaneCLI: {target: "tool", binary: "crossplane", ldflags: crossplane + CrossplaneCLIVersion},
		Cosign:        {target: "tool", ldflags: "-s -w"},
		VersityGW:     {target: "tool", ldflags: "-s -w"},
		FakeGCS:       {target: "tool", ldflags: "-s -w"},
		Kueue: {
			target:  "tool",
			ldflags: "-s -w",
			data:    data{module: "sigs.k8s.io/kueue", dir: "config/components", name: KueueConfig},
		},
		// Without clouds' service discovery, which is a third of the packages.
		Prometheus: {target: "tool", ldflags: "-s -w", tags: "remove_all_sd"},
		ORAS:       {target: "tool", ldflags: "-s -w"},
	}
}

// All are the modules that a whole cluster needs.
func All() []Name {
	return []Name{Kubernetes, Etcd, Containerd, Registry, Pause}
}

// WithCrossplane are the modules that a cluster with Crossplane needs.
func WithCrossplane() []Name {
	return append(All(), Crossplane, CrossplaneCLI)
}

// ControlPlane builds etcd, kube-apiserver and kubectl and returns a directory
// that holds them by these names, as envtest's BinaryAssetsDirectory wants it.
// It needs no root and no Linux.
func ControlPlane(ctx context.Context, log io.Writer) (string, error) {
	return Build(ctx, log, ControlPlaneNames()...)
}

// ControlPlaneNames are the modules that ControlPlane builds.
func ControlPlaneNames() []Name { return []Name{Etcd, Kubernetes} }

// Build builds the named modules, those that were not built yet, and returns a
// directory that holds all their programs by name. It writes what it builds,
// and how long that took, to log. Builds at the same time wait for each other;
// one that is killed leaves nothing half done behind.
func Build(ctx context.Context, log io.Writer, names ...Name) (string, error) {
	root, err := SourceTree(ctx)
	if err != nil {
		return "", err
	}
	cache, err := Cache()
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return "", errors.Wrap(err, "cannot make the programs' cache directory")
	}
	built := make([]string, 0, len(names))
	for _, name := range names {
		dir, err := buildModule(ctx, log, cache, filepath.Join(root, "test", "programs", "modules"), name)
		if err != nil {
			return "", errors.Wrapf(err, "cannot build %s", name)
		}
		built = append(built, dir)
	}
	dir, err := link(cache, built)
	return dir, errors.Wrap(err, "cannot gather the programs in one directory")
}

// Built returns what Build does if all of these modules are built already, and reports
// whether they are. It builds nothing: it is for tests of programs that take so long to
// build that only who asks for it should wait.
func Built(ctx context.Context, names ...Name) (dir string, ok bool, err error) {
	root, err := SourceTree(ctx)
	if err != nil {
		return "", false, err
	}
	cache, err := Cache()
	if err != nil {
		return "", false, err
	}
	builds := make([]string, 0, len(names))
	for _, name := range names {
		_, _, final, err := locate(ctx, cache, filepath.Join(root, "test", "programs", "modules"), name)
		if err != nil || !exists(final) {
			return "", false, errors.Wrapf(err, "cannot look for %s", name)
		}
		builds = append(builds, final)
	}
	dir, err = link(cache, builds)
	return dir, err == nil, errors.Wrap(err, "cannot gather the programs in one directory")
}

// Clean removes all that was built.
func Clean() error {
	cache, err := Cache()
	if err != nil {
		return err
	}
	return errors.Wrap(os.RemoveAll(cache), "cannot remove the programs' cache directory")
}

// Cache is where built programs are kept: below the user's cache directory.
func Cache() (string, error) {
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "provider-kitops", "programs"), errors.Wrap(err, "cannot find the user's cache directory")
}
