package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const (
	// module's program is the provider.
	providerPackage = "github.com/crossplane-contrib/provider-kitops/cmd/provider"

	// electionFlag has replicas elect a leader.
	electionFlag = "--leader-election"

	// stopTimeout bounds how long the provider may take to end.
	stopTimeout = 30 * time.Second
)

// A provider is a process of the provider.
type provider struct {
	cmd  *exec.Cmd
	done chan error

	// health is where it says that it serves.
	health string

	// ended means that it was ended by end.
	ended bool
}

// buildProvider builds the source tree's provider into dir.
func buildProvider(ctx context.Context, dir string) (string, error) {
	path := filepath.Join(dir, "provider")
	out, err := exec.CommandContext(ctx, "go", "build", "-o", path, providerPackage).CombinedOutput()
	return path, errors.Wrapf(err, "cannot build the provider: %s", out)
}

// startProvider starts the provider with a cluster and these flags.
func startProvider(ctx context.Context, path, kubeconfig string, log io.Writer, flags ...string) (*provider, error) {
	metrics, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	health, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, path, append([]string{
		"--metrics-bind-address=" + metrics,
		"--health-probe-bind-addr=" + health,
	}, flags...)...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	if slices.Contains(flags, electionFlag) {
		// The Lease is in its namespace.
		cmd.Env = append(cmd.Env, "POD_NAMESPACE="+namespace)
	}
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	if err := cmd.Start(); err != nil {
		return nil, errors.Wrap(err, "cannot start the provider")
	}
	p := &provider{cmd: cmd, done: make(chan error, 1), health: "http://" + health + "/readyz"}
	go func() { p.done <- cmd.Wait() }()
	return p, nil
}

// waitServing waits until the provider serves.
func (p *provider) waitServing(ctx context.Context) error {
	err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, p.health, nil)
		if err != nil {
			return false, err
		}
		rsp, err := http.DefaultClient.Do(req)
		if err != nil {
			return false, nil //nolint:nilerr // It does not listen yet.
		}
		return rsp.StatusCode == http.StatusOK, rsp.Body.Close()
	})
	return errors.Wrap(err, "the provider does not serve")
}

// end sends the provider a signal that ends it.
func (p *provider) end(signal syscall.Signal) error {
	p.ended = true
	return errors.Wrap(p.cmd.Process.Signal(signal), "cannot end the provider")
}

// stop ends the provider and waits until it is gone.
func (p *provider) stop() error {
	if p == nil {
		return nil
	}
	if p.ended {
		<-p.done //nolint:errcheck // It was told to end, by a signal.
		return nil
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return errors.Wrap(err, "cannot stop the provider")
	}
	select {
	case err := <-p.done:
		return errors.Wrap(err, "the provider failed")
	case <-time.After(stopTimeout):
		return errors.Wrap(errors.Join(errors.New("the provider does not stop"), p.cmd.Process.Kill()), "cannot stop the provider")
	}
}

// memory returns how much memory the provider has resident, and the most that it
// had, in bytes.
func (p *provider) memory() (now, peak int64, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0, 0, errors.Wrap(err, "cannot read the provider's memory")
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		if err != nil {
			continue
		}
		switch name {
		case "VmRSS":
			now = kilobytes << 10
		case "VmHWM":
			peak = kilobytes << 10
		}
	}
	return now, peak, nil
}

// freeAddress returns an address on the loopback interface without a listener
// on.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", errors.Wrap(err, "cannot find a free port")
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String(), nil
}

// writeKubeconfig writes how to reach the API server for another program.
func writeKubeconfig(path string, c *rest.Config) error {
	const name = "bench"
	k := clientcmdapi.NewConfig()
	k.Clusters[name] = &clientcmdapi.Cluster{Server: server(c), CertificateAuthorityData: c.CAData}
	k.AuthInfos[name] = &clientcmdapi.AuthInfo{ClientCertificateData: c.CertData, ClientKeyData: c.KeyData}
	k.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name}
	k.CurrentContext = name
	return errors.Wrap(clientcmd.WriteToFile(*k, path), "cannot write a kubeconfig")
}

// server returns the API server's address with its scheme.
func server(c *rest.Config) string {
	host := strings.TrimSuffix(c.Host, "/")
	if strings.Contains(host, "://") {
		return host
	}
	return "https://" + host
}
