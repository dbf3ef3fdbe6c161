package names

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/utils/ptr"
)

// slice is an EndpointSlice of a Service with one endpoint.
func slice(service, address string, ready *bool) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: metav1.ObjectMeta{
			Name: service + "-1", Namespace: "crossplane-system", Labels: map[string]string{discoveryv1.LabelServiceName: service},
		},
		Endpoints: []discoveryv1.Endpoint{{Addresses: []string{address}, Conditions: discoveryv1.EndpointConditions{Ready: ready}}},
	}
}

func TestWrite(t *testing.T) {
	const local = "127.0.0.1 localhost\n"
	cases := map[string]struct {
		reason string
		args   []*discoveryv1.EndpointSlice
		want   string
	}{
		"None": {reason: "The machine knows its own name in any case.", want: local},
		"Sorted": {
			reason: "What is the same is written in the same way.",
			args:   []*discoveryv1.EndpointSlice{slice("b", "10.244.0.2", ptr.To(true)), slice("a", "10.244.0.1", nil)},
			want: local +
				"10.244.0.1 a.crossplane-system a.crossplane-system.svc a.crossplane-system.svc.cluster.local\n" +
				"10.244.0.2 b.crossplane-system b.crossplane-system.svc b.crossplane-system.svc.cluster.local\n",
		},
		"NotReady":  {reason: "Nobody is sent to what is not ready.", args: []*discoveryv1.EndpointSlice{slice("a", "10.244.0.1", ptr.To(false))}, want: local},
		"NoService": {reason: "Addresses of nothing have no name.", args: []*discoveryv1.EndpointSlice{slice("", "10.244.0.1", nil)}, want: local},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "hosts")
			if err := Write(file, tc.args); err != nil {
				t.Fatalf("\n%s\nWrite(...): %v", tc.reason, err)
			}
			got, err := os.ReadFile(file)
			if diff := cmp.Diff(tc.want, string(got)); err != nil || diff != "" {
				t.Errorf("\n%s\nWrite(...): error %v, -want, +got:\n%s", tc.reason, err, diff)
			}
		})
	}
}

func TestRunFollowsServices(t *testing.T) {
	file := filepath.Join(t.TempDir(), "hosts")
	first := slice("a", "10.244.0.1", nil)
	c := fake.NewClientset(first)
	failed := func(err error) { t.Errorf("Run(...): failed: %v", err) }
	if err := Run(t.Context(), c, first.Namespace, file, failed); err != nil {
		t.Fatalf("Run(...): %v", err)
	}
	waitFor(t, file, first)
	second := slice("b", "10.244.0.2", nil)
	if _, err := c.DiscoveryV1().EndpointSlices(first.Namespace).Create(t.Context(), second, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, file, first, second)
	if err := c.DiscoveryV1().EndpointSlices(first.Namespace).Delete(t.Context(), first.Name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	waitFor(t, file, second)
}

// waitFor waits until the file names what is there, in at most ten seconds.
func waitFor(t *testing.T, file string, endpoints ...*discoveryv1.EndpointSlice) {
	t.Helper()
	want := filepath.Join(t.TempDir(), "want")
	if err := Write(want, endpoints); err != nil {
		t.Fatal(err)
	}
	diff := ""
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if diff = cmp.Diff(read(t, want), read(t, file)); diff == "" {
			return
		}
	}
	t.Fatalf("names: -want, +got:\n%s", diff)
}

func read(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
