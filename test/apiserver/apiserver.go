// Package apiserver runs a real API server with the provider's kinds for
// tests. It needs no root, no cluster and no network: kube-apiserver and etcd
// are built from Go modules once and kept in the user's cache directory.
package apiserver

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/crossplane-contrib/provider-kitops/apis"
	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

const (
	// envAssets is envtest's own variable for a directory with etcd and
	// kube-apiserver; where it is set, none are built.
	envAssets = "KUBEBUILDER_ASSETS"

	// startTimeout bounds how long a program may take until it serves. A
	// machine that builds at the same time is slow.
	startTimeout = 3 * time.Minute

	// stopTimeout bounds how long a program may take to end.
	stopTimeout = time.Minute
)

// server is the one that the tests of a package share.
var server struct {
	sync.Mutex
	main   bool // Main runs the tests.
	ctx    context.Context
	config *rest.Config
	stop   func() error
	err    error
}

// Main runs the tests of m, and stops the server that they share, if one of them
// needed it, also when the tests are interrupted. It returns the exit code for
// os.Exit.
func Main(m *testing.M) int {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer cancel()
	server.main, server.ctx = true, ctx

	done := make(chan int, 1)
	go func() { done <- m.Run() }()
	code := 1
	select {
	case code = <-done:
	case <-ctx.Done():
		fmt.Fprintln(os.Stderr, "interrupted")
	}
	server.Lock()
	defer server.Unlock()
	if server.stop == nil {
		return code
	}
	if err := server.stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}

// Start starts a server with the provider's CustomResourceDefinitions. It
// returns an administrator's configuration for it and what stops it. The
// context bounds the build of the programs.
func Start(ctx context.Context) (*rest.Config, func() error, error) {
	crds, err := definitions()
	if err != nil {
		return nil, nil, err
	}
	assets := os.Getenv(envAssets)
	if assets == "" {
		if assets, err = programs.ControlPlane(ctx, os.Stderr); err != nil {
			return nil, nil, errors.Wrap(err, "cannot build the control plane")
		}
	}
	env := &envtest.Environment{
		// A cluster that happens to be configured is never used.
		UseExistingCluster:       ptr.To(false),
		BinaryAssetsDirectory:    assets,
		ControlPlaneStartTimeout: startTimeout,
		ControlPlaneStopTimeout:  stopTimeout,
		CRDInstallOptions: envtest.CRDInstallOptions{
			Paths:              []string{crds},
			ErrorIfPathMissing: true,
			MaxTime:            time.Minute,
		},
	}
	cfg, err := start(env)
	if err != nil {
		return nil, nil, errors.Join(errors.Wrap(err, "cannot start the API server"), env.Stop())
	}
	return cfg, func() error { return errors.Wrap(env.Stop(), "cannot stop the API server") }, nil
}

// gogc is the GOGC of the servers where the environment does not say. They live for some
// minutes, and tests wait for their processor time, of which Go's default takes a sixth
// for the collection of garbage.
const gogc = "400"

// start starts the servers, which inherit this process's environment.
func start(env *envtest.Environment) (*rest.Config, error) {
	if _, ok := os.LookupEnv("GOGC"); !ok {
		if err := os.Setenv("GOGC", gogc); err != nil {
			return nil, errors.Wrap(err, "cannot set GOGC")
		}
		defer func() { _ = os.Unsetenv("GOGC") }()
	}
	return env.Start()
}

// Config returns a copy of the configuration for the server that the package's
// tests share. The first test that calls it starts the server. With -short there
// is none, and the test is skipped.
func Config(t testing.TB) *rest.Config {
	t.Helper()
	if testing.Short() {
		t.Skip("needs an API server, which -short leaves out")
	}
	server.Lock()
	defer server.Unlock()
	if !server.main {
		t.Fatal("no API server: call apiserver.Main in TestMain")
	}
	if server.config == nil && server.err == nil {
		server.config, server.stop, server.err = Start(server.ctx)
	}
	if server.err != nil {
		t.Fatal(server.err)
	}
	return rest.CopyConfig(server.config)
}

// Scheme returns a scheme with Kubernetes' own kinds and the provider's.
func Scheme(t testing.TB) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apis.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

// Client returns an administrator's client, without a cache, that refuses
// fields which the server does not know.
func Client(t testing.TB) client.Client {
	t.Helper()
	c, err := client.New(Config(t), client.Options{Scheme: Scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return client.WithFieldValidation(c, metav1.FieldValidationStrict)
}

// Namespace makes a namespace for the test and returns its name. Nothing
// empties it: namespaces do not end without a controller manager.
func Namespace(t testing.TB, c client.Client) string {
	t.Helper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-"}}
	if err := c.Create(t.Context(), ns); err != nil {
		t.Fatal(err)
	}
	return ns.GetName()
}

// definitions returns the folder of the CustomResourceDefinitions in the
// source tree that the working directory is in.
func definitions() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", errors.Wrap(err, "cannot get the working directory")
	}
	for {
		crds := filepath.Join(dir, "package", "crds")
		if _, err := os.Stat(crds); err == nil {
			return crds, nil
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return "", errors.New("cannot find package/crds: run the tests inside of the source tree")
		}
		dir = parent
	}
}
