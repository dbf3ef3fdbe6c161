package progress

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// progressPatience bounds how long a Pod is waited for.
const progressPatience = 3 * time.Second

// askable returns the Pod that can be asked how far its run is, and where: one
// that runs, has the port for it, and is on the network of Pods.
func askable(pods []corev1.Pod) (*corev1.Pod, netip.Addr, bool) {
	for i := range pods {
		pod := &pods[i]
		if pod.Status.Phase != corev1.PodRunning || pod.GetDeletionTimestamp() != nil || pod.Spec.HostNetwork || !hasProgressPort(pod) {
			continue
		}
		if address, ok := podAddress(pod); ok {
			return pod, address, true
		}
	}
	return nil, netip.Addr{}, false
}

func hasProgressPort(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
			return p.Name == outcome.ProgressPortName && p.ContainerPort == outcome.ProgressPort
		})
	})
}

// podAddress returns a Pod's first address, if it can be one on the network of
// Pods. Nobody but the kubelet should have written it; were it somebody else,
// the provider would not be led to itself, its node, or what answers to a whole
// link.
func podAddress(pod *corev1.Pod) (netip.Addr, bool) {
	address, err := netip.ParseAddr(pod.Status.PodIP)
	if err != nil || address.Zone() != "" {
		return netip.Addr{}, false
	}
	address = address.Unmap()
	isHost := slices.ContainsFunc(append([]corev1.HostIP{{IP: pod.Status.HostIP}}, pod.Status.HostIPs...), func(h corev1.HostIP) bool {
		host, err := netip.ParseAddr(h.IP)
		return err == nil && host.Unmap() == address
	})
	// Link-local ones, and 255.255.255.255, are none of these.
	return address, address.IsGlobalUnicast() && !isHost
}

// A progressClient asks Pods how far their runs are.
type progressClient struct {
	http *http.Client
}

func newProgressClient() *progressClient {
	return &progressClient{http: &http.Client{
		Timeout: progressPatience,
		// No proxy is asked for what is inside of the cluster, and no connection
		// is kept for the next time.
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: progressPatience, KeepAlive: -1}).DialContext,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: outcome.MaxProgressBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ask asks the Pod at an address.
func (c *progressClient) ask(ctx context.Context, address netip.Addr) (outcome.Progress, error) {
	return c.askAt(ctx, net.JoinHostPort(address.String(), strconv.Itoa(outcome.ProgressPort)))
}

// askAt asks at HOST:PORT. Nothing that the Pod says gets into an error.
func (c *progressClient) askAt(ctx context.Context, host string) (outcome.Progress, error) {
	u := url.URL{Scheme: "http", Host: host, Path: outcome.ProgressPath}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return outcome.Progress{}, errors.Wrap(err, "cannot ask a run's Pod for its progress")
	}
	req.Header.Set("User-Agent", version.UserAgent())
	rsp, err := c.http.Do(req)
	if err != nil {
		return outcome.Progress{}, errors.Wrap(err, "cannot ask a run's Pod for its progress")
	}
	defer rsp.Body.Close()
	if rsp.StatusCode != http.StatusOK {
		return outcome.Progress{}, errors.Errorf("cannot ask a run's Pod for its progress: it answered %d", rsp.StatusCode)
	}
	b, err := io.ReadAll(io.LimitReader(rsp.Body, outcome.MaxProgressBytes+1))
	if err != nil {
		return outcome.Progress{}, errors.Wrap(err, "cannot read a run's progress")
	}
	return outcome.ParseProgress(b)
}
