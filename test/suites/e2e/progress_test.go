package e2e

import (
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// progressRate has a run last for as long as it takes to be asked twice how far
// it is, in bytes a second.
const progressRate = 72 << 10

// TestProgressOfARun reads what a person sees of a run while it is running.
func TestProgressOfARun(t *testing.T) {
	forPipelines(t, func(n *tenant, p modelv1alpha1.PipelineType) {
		a := n.ownArtifact("progress", p)
		n.publishOwn("main")
		n.withSlowHub(a)
		n.create(a)

		var seen []modelv1alpha1.ProgressObservation
		table := ""
		n.watch(a, func(a *modelv1alpha1.Artifact) bool {
			s := a.Status.AtProvider
			if s.Progress == nil {
				return a.GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue
			}
			if s.Phase != modelv1alpha1.PhaseRunning {
				n.t.Errorf("phase %s has a progress", s.Phase)
			}
			if len(seen) == 0 || seen[len(seen)-1].BytesDone != s.Progress.BytesDone || seen[len(seen)-1].Step != s.Progress.Step {
				seen = append(seen, *s.Progress)
			}
			if len(seen) >= 2 && table == "" && s.Progress.Percent > 0 {
				table = n.table(a)
			}
			return false
		})
		log := n.log()
		n.t.Logf("seen: %+v\n%s\n%s", seen, table, log)
		n.checkProgress(seen)
		if n.get(a); a.Status.AtProvider.Progress != nil {
			n.t.Errorf("after the run there is still a progress: %+v", a.Status.AtProvider.Progress)
		}
		if !strings.Contains(table, "PROGRESS") {
			n.t.Errorf("kubectl get artifacts: got\n%s", table)
		}
		if !strings.Contains(log, " %), ") || !strings.Contains(log, "KiB/s, ") {
			n.t.Errorf("the log does not say how far the run is:\n%s", log)
		}
		n.deleteArtifact(a)
	})
}

// checkProgress checks that a run was seen to get on.
func (n *tenant) checkProgress(seen []modelv1alpha1.ProgressObservation) {
	n.t.Helper()
	if len(seen) < 2 {
		n.t.Fatalf("want at least two values, got %+v", seen)
	}
	rated := false
	for i, p := range seen {
		if p.BytesTotal == 0 || p.BytesDone > p.BytesTotal || p.Percent < 0 || p.Percent > 100 {
			n.t.Errorf("value %d is out of bounds: %+v", i, p)
		}
		if i > 0 && p.Percent < seen[i-1].Percent {
			n.t.Errorf("value %d is less than the one before: %+v", i, p)
		}
		rated = rated || p.BytesPerSecond > 0 && p.TimeLeft != nil
	}
	if !rated {
		n.t.Errorf("no value has a rate and a time left: %+v", seen)
	}
}

// withSlowHub puts a slow line before the Hub, as a proxy.
func (n *tenant) withSlowHub(a *modelv1alpha1.Artifact) {
	n.t.Helper()
	line := &hub.Line{Total: progressRate}
	proxy := &server{t: n.t, handler: http.HandlerFunc(tunnel), wrap: line.Listen}
	proxy.start()
	n.t.Cleanup(proxy.kill)
	n.withConfig(a, func(c *v1alpha1.ClusterProviderConfigSpec) {
		c.Job.Env = append(c.Job.Env, corev1.EnvVar{Name: "HTTPS_PROXY", Value: "http://" + proxy.address})
	})
}

// tunnel connects a client to a server of the cluster
// (https://www.rfc-editor.org/rfc/rfc9110#name-connect).
func tunnel(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect {
		http.Error(w, "only CONNECT is served", http.StatusMethodNotAllowed)
		return
	}
	there, err := local.Cluster.DialContext(r.Context(), "tcp", r.Host)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer there.Close()
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer here.Close()
	if _, err := io.WriteString(here, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	go func(to net.Conn) {
		_, _ = io.Copy(to, buffered)
		_ = to.Close()
	}(there)
	_, _ = io.Copy(here, there)
}

// table returns what kubectl says of the Artifact.
func (n *tenant) table(a *modelv1alpha1.Artifact) string {
	n.t.Helper()
	out, err := local.Cluster.Kubectl(n.t.Context(), "get", "artifacts", "--namespace="+n.namespace, a.GetName()).CombinedOutput()
	if err != nil {
		n.t.Fatalf("kubectl get artifacts: %s, %v", out, err)
	}
	return string(out)
}

// log returns the log of the tenant's one Pod.
func (n *tenant) log() string {
	n.t.Helper()
	pods := n.names(&corev1.PodList{})
	if len(pods) != 1 {
		n.t.Fatalf("Pods: got %v", pods)
	}
	clientset, err := kubernetes.NewForConfig(local.REST)
	if err != nil {
		n.t.Fatal(err)
	}
	out, err := clientset.CoreV1().Pods(n.namespace).GetLogs(pods[0], &corev1.PodLogOptions{}).DoRaw(n.t.Context())
	if err != nil {
		n.t.Fatal(err)
	}
	return string(out)
}
