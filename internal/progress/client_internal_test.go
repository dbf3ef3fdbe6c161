package progress

import (
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// runningPod returns a Pod that can be asked.
func runningPod(change ...func(*corev1.Pod)) corev1.Pod {
	pod := corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{UID: "pod"},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Ports: []corev1.ContainerPort{{Name: outcome.ProgressPortName, ContainerPort: outcome.ProgressPort}},
		}}},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.1.2.3", HostIP: "192.0.2.1"},
	}
	for _, fn := range change {
		fn(&pod)
	}
	return pod
}

func TestPollable(t *testing.T) {
	at := func(ip string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.PodIP = ip } }
	now := metav1.Now()
	cases := map[string]struct {
		reason string
		args   []corev1.Pod
		want   string
	}{
		"Running":   {reason: "A running Pod should be asked.", args: []corev1.Pod{runningPod()}, want: "10.1.2.3"},
		"IPv6":      {reason: "A Pod with an IPv6 address should be asked.", args: []corev1.Pod{runningPod(at("fd00::7"))}, want: "fd00::7"},
		"Public":    {reason: "A Pod with a public address should be asked, since some clusters give their Pods such addresses.", args: []corev1.Pod{runningPod(at("203.0.113.7"))}, want: "203.0.113.7"},
		"None":      {reason: "A run without Pods has none to ask."},
		"Starting":  {reason: "A Pod that is starting does not listen yet.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })}},
		"Ended":     {reason: "A Pod that has ended does not listen any more.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })}},
		"Deleted":   {reason: "A Pod that is being deleted should not be asked, since it is about to end.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.DeletionTimestamp = &now })}},
		"Older":     {reason: "A Pod without the port should not be asked, since its worker is older.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil })}},
		"Other":     {reason: "A port of that name with another number is not the worker's.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 80 })}},
		"Host":      {reason: "A Pod on its node's network should not be asked, since runs never are.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Spec.HostNetwork = true })}},
		"HostIP":    {reason: "The address of the Pod's node should not be asked.", args: []corev1.Pod{runningPod(at("192.0.2.1"))}},
		"HostIPs":   {reason: "No address of the Pod's node should be asked.", args: []corev1.Pod{runningPod(at("fd00::1"), func(p *corev1.Pod) { p.Status.HostIPs = []corev1.HostIP{{IP: "fd00::1"}} })}},
		"NoAddress": {reason: "A Pod without an address cannot be asked.", args: []corev1.Pod{runningPod(at(""))}},
		"Name":      {reason: "A name should not be looked up.", args: []corev1.Pod{runningPod(at("localhost"))}},
		"Port":      {reason: "An address with a port is not valid.", args: []corev1.Pod{runningPod(at("10.1.2.3:80"))}},
		"Loopback":  {reason: "The provider should not be led to itself.", args: []corev1.Pod{runningPod(at("127.0.0.1"))}},
		"Loopback6": {reason: "The provider should not be led to itself by an IPv6 address.", args: []corev1.Pod{runningPod(at("::1"))}},
		"Mapped":    {reason: "The provider should not be led to itself by an IPv4-mapped IPv6 address.", args: []corev1.Pod{runningPod(at("::ffff:127.0.0.1"))}},
		"Metadata":  {reason: "The provider should not be led to a cloud's metadata service.", args: []corev1.Pod{runningPod(at("169.254.169.254"))}},
		"MappedTo":  {reason: "The provider should not be led to a metadata service by an IPv4-mapped IPv6 address.", args: []corev1.Pod{runningPod(at("::ffff:169.254.169.254"))}},
		"Link":      {reason: "A link-local address should not be asked.", args: []corev1.Pod{runningPod(at("fe80::1"))}},
		"Zone":      {reason: "An address with a zone should not be asked, since that names an interface of the provider.", args: []corev1.Pod{runningPod(at("fd00::1%eth0"))}},
		"All":       {reason: "The unspecified address should not be asked, since it stands for the provider itself.", args: []corev1.Pod{runningPod(at("0.0.0.0"))}},
		"All6":      {reason: "The unspecified IPv6 address should not be asked, since it stands for the provider itself.", args: []corev1.Pod{runningPod(at("::"))}},
		"Multicast": {reason: "A multicast address should not be asked.", args: []corev1.Pod{runningPod(at("224.0.0.1"))}},
		"Broadcast": {reason: "A broadcast address should not be asked.", args: []corev1.Pod{runningPod(at("255.255.255.255"))}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := ""
			if pods := pollable(tc.args); len(pods) > 0 {
				got = pods[0].address.String()
			}
			if got != tc.want {
				t.Errorf("\n%s\npollable(...): want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func TestPodClient(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   http.HandlerFunc
		want   outcome.Progress
		err    string
	}{
		"Whole": {
			reason: "A worker's answer should be read.",
			args: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/progress" || r.Method != http.MethodGet || len(r.Cookies()) > 0 || r.Header.Get("Authorization") != "" {
					w.WriteHeader(http.StatusTeapot)
				}
				_, _ = w.Write([]byte(`{"step":"copy","percent":31}`))
			},
			want: outcome.Progress{Step: "copy", Percent: 31},
		},
		"Redirect": {
			reason: "A redirect should not be followed.",
			args:   http.RedirectHandler("http://169.254.169.254/latest/meta-data", http.StatusFound).ServeHTTP,
			err:    "it answered 302",
		},
		"Missing": {reason: "An answer that is no success should be an error.", args: http.NotFound, err: "it answered 404"},
		"Long": {
			reason: "The answer's body should be bounded.",
			args: func(w http.ResponseWriter, _ *http.Request) {
				for range 1 << 20 {
					if _, err := w.Write([]byte(strings.Repeat(" ", 1024))); err != nil {
						return
					}
				}
			},
			err: "more than 4096 bytes",
		},
		"LongHeader": {
			reason: "The answer's header should be bounded.",
			args: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			},
			err: "cannot ask a run's Pod",
		},
		"Text": {
			reason: "An error should not repeat the Pod's answer.",
			args:   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"percent":"secret"}`)) },
			err:    "its JSON does not have the expected fields",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tc.args)
			defer s.Close()
			// A proxy must not be used.
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
			got, err := newPodClient().askAt(t.Context(), s.Listener.Addr().String())
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\naskAt(...): -want, +got:\n%s", tc.reason, diff)
			}
			if (err != nil) != (tc.err != "") || err != nil && (!strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("\n%s\naskAt(...): want error %q, got %v", tc.reason, tc.err, err)
			}
		})
	}
}

func TestPodClientTimeout(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	start := time.Now()
	if _, err := newPodClient().askAt(t.Context(), l.Addr().String()); err == nil {
		t.Error("A Pod that does not answer should be an error.")
	}
	if took := time.Since(start); took > 2*timeout {
		t.Errorf("want no more than %s, got %s", timeout, took)
	}
}
