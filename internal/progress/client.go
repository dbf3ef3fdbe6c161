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
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

// timeout bounds a request to a Pod.
const timeout = 3 * time.Second

// A polledPod is a Pod that serves the progress of its run, and its address.
type polledPod struct {
	uid     types.UID
	address netip.Addr
}

// pollable returns the Pods that serve the progress of their run: each must be running,
// have the port for it, and be on the network of Pods. Of a run of one Pod it is the first.
func pollable(pods []corev1.Pod) []polledPod {
	var out []polledPod
	for i := range pods {
		if len(out) > 0 && !isShare(&pods[i]) {
			break
		}
		pod := &pods[i]
		if pod.Status.Phase != corev1.PodRunning || pod.GetDeletionTimestamp() != nil || pod.Spec.HostNetwork || !hasProgressPort(pod) {
			continue
		}
		if address, ok := podAddress(pod); ok {
			out = append(out, polledPod{pod.GetUID(), address})
		}
	}
	slices.SortFunc(out, func(a, b polledPod) int { return strings.Compare(string(a.uid), string(b.uid)) })
	return out[:min(len(out), v1alpha1.MaxParallelism)]
}

func hasProgressPort(pod *corev1.Pod) bool {
	return slices.ContainsFunc(pod.Spec.Containers, func(c corev1.Container) bool {
		return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
			return p.Name == outcome.ProgressPortName && p.ContainerPort == outcome.ProgressPort
		})
	})
}

// podAddress returns a Pod's first address, if it can be one on the network of Pods.
// Only the kubelet should write it; another writer must not lead the provider to
// itself, to its node, or to link-local services such as a cloud's metadata.
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
	// IsGlobalUnicast excludes loopback and link-local addresses and 255.255.255.255.
	return address, address.IsGlobalUnicast() && !isHost
}

// A podClient asks Pods for the progress of their runs.
type podClient struct {
	http *http.Client
}

func newPodClient() *podClient {
	return &podClient{http: &http.Client{
		Timeout: timeout,
		// Pods are not reached by a proxy, and connections are not reused.
		Transport: &http.Transport{
			DialContext:            (&net.Dialer{Timeout: timeout, KeepAlive: -1}).DialContext,
			DisableKeepAlives:      true,
			DisableCompression:     true,
			MaxResponseHeaderBytes: outcome.MaxProgressBytes,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// ask asks the Pod at an address.
func (c *podClient) ask(ctx context.Context, address netip.Addr) (outcome.Progress, error) {
	return c.askAt(ctx, net.JoinHostPort(address.String(), strconv.Itoa(outcome.ProgressPort)))
}

// askAt asks the Pod at HOST:PORT. Errors repeat nothing of its answer.
func (c *podClient) askAt(ctx context.Context, host string) (outcome.Progress, error) {
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
