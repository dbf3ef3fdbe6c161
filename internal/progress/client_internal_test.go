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

func TestAskable(t *testing.T) {
	at := func(ip string) func(*corev1.Pod) { return func(p *corev1.Pod) { p.Status.PodIP = ip } }
	now := metav1.Now()
	cases := map[string]struct {
		reason string
		args   []corev1.Pod
		want   string
	}{
		"Running":   {reason: "A running Pod is asked.", args: []corev1.Pod{runningPod()}, want: "10.1.2.3"},
		"IPv6":      {reason: "So is one of IPv6.", args: []corev1.Pod{runningPod(at("fd00::7"))}, want: "fd00::7"},
		"Public":    {reason: "A network of Pods may have public addresses.", args: []corev1.Pod{runningPod(at("203.0.113.7"))}, want: "203.0.113.7"},
		"None":      {reason: "Nobody is nobody."},
		"Starting":  {reason: "One that starts does not listen.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending })}},
		"Ended":     {reason: "One that has ended does not listen.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed })}},
		"Deleted":   {reason: "One that is being deleted is about to end.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.DeletionTimestamp = &now })}},
		"Older":     {reason: "One without the port has an older worker.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Spec.Containers[0].Ports = nil })}},
		"Other":     {reason: "Another port of that name is somebody else's.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Spec.Containers[0].Ports[0].ContainerPort = 80 })}},
		"Host":      {reason: "A Pod on its node's network is none of this provider's.", args: []corev1.Pod{runningPod(func(p *corev1.Pod) { p.Spec.HostNetwork = true })}},
		"HostIP":    {reason: "A node is no Pod.", args: []corev1.Pod{runningPod(at("192.0.2.1"))}},
		"HostIPs":   {reason: "A node has several addresses.", args: []corev1.Pod{runningPod(at("fd00::1"), func(p *corev1.Pod) { p.Status.HostIPs = []corev1.HostIP{{IP: "fd00::1"}} })}},
		"NoAddress": {reason: "Without an address nobody is asked.", args: []corev1.Pod{runningPod(at(""))}},
		"Name":      {reason: "A name is no address.", args: []corev1.Pod{runningPod(at("localhost"))}},
		"Port":      {reason: "An address has no port.", args: []corev1.Pod{runningPod(at("10.1.2.3:80"))}},
		"Loopback":  {reason: "The provider asks not itself.", args: []corev1.Pod{runningPod(at("127.0.0.1"))}},
		"Loopback6": {reason: "Nor by IPv6.", args: []corev1.Pod{runningPod(at("::1"))}},
		"Mapped":    {reason: "Nor by one in the other.", args: []corev1.Pod{runningPod(at("::ffff:127.0.0.1"))}},
		"Metadata":  {reason: "Nor its cloud.", args: []corev1.Pod{runningPod(at("169.254.169.254"))}},
		"MappedTo":  {reason: "Nor by one in the other.", args: []corev1.Pod{runningPod(at("::ffff:169.254.169.254"))}},
		"Link":      {reason: "Nor its link.", args: []corev1.Pod{runningPod(at("fe80::1"))}},
		"Zone":      {reason: "Nor an interface of its own.", args: []corev1.Pod{runningPod(at("fd00::1%eth0"))}},
		"All":       {reason: "No address is not all addresses.", args: []corev1.Pod{runningPod(at("0.0.0.0"))}},
		"All6":      {reason: "Neither of IPv6.", args: []corev1.Pod{runningPod(at("::"))}},
		"Multicast": {reason: "Many are not one.", args: []corev1.Pod{runningPod(at("224.0.0.1"))}},
		"Broadcast": {reason: "All are not one.", args: []corev1.Pod{runningPod(at("255.255.255.255"))}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, address, ok := askable(tc.args)
			got := ""
			if ok {
				got = address.String()
			}
			if got != tc.want {
				t.Errorf("\n%s\naskable(...): want %q, got %q", tc.reason, tc.want, got)
			}
		})
	}
}

func TestProgressClient(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   http.HandlerFunc
		want   outcome.Progress
		err    string
	}{
		"Whole": {
			reason: "What a worker says is read.",
			args: func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/progress" || r.Method != http.MethodGet || len(r.Cookies()) > 0 || r.Header.Get("Authorization") != "" {
					w.WriteHeader(http.StatusTeapot)
				}
				_, _ = w.Write([]byte(`{"step":"copy","percent":31}`))
			},
			want: outcome.Progress{Step: "copy", Percent: 31},
		},
		"Redirect": {
			reason: "Nobody is led elsewhere.",
			args:   http.RedirectHandler("http://169.254.169.254/latest/meta-data", http.StatusFound).ServeHTTP,
			err:    "it answered 302",
		},
		"Missing": {reason: "What listens there may be something else.", args: http.NotFound, err: "it answered 404"},
		"Long": {
			reason: "Nobody reads without end.",
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
			reason: "Nor headers.",
			args: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X-Long", strings.Repeat("x", 1<<20))
			},
			err: "cannot ask a run's Pod",
		},
		"Text": {
			reason: "What a Pod says gets into no error.",
			args:   func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"percent":"secret"}`)) },
			err:    "its JSON does not have the expected fields",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(tc.args)
			defer s.Close()
			// A proxy is not asked.
			t.Setenv("HTTP_PROXY", "http://127.0.0.1:9")
			got, err := newProgressClient().askAt(t.Context(), s.Listener.Addr().String())
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\naskAt(...): -want, +got:\n%s", tc.reason, diff)
			}
			if (err != nil) != (tc.err != "") || err != nil && (!strings.Contains(err.Error(), tc.err) || strings.Contains(err.Error(), "secret")) {
				t.Errorf("\n%s\naskAt(...): want error %q, got %v", tc.reason, tc.err, err)
			}
		})
	}
}

func TestProgressClientWaitsForNobody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	start := time.Now()
	if _, err := newProgressClient().askAt(t.Context(), l.Addr().String()); err == nil {
		t.Error("want an error of who does not answer")
	}
	if took := time.Since(start); took > 2*progressPatience {
		t.Errorf("want no more than %s, got %s", progressPatience, took)
	}
}
