//go:build linux

package node

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/crossplane-contrib/provider-kitops/test/cluster"
)

const namespace = "restricted"

// needE2E skips a test that needs root and brings a cluster up, unless such
// tests are wanted.
func needE2E(t *testing.T) {
	t.Helper()
	if v := os.Getenv("E2E"); v != "required" && v != "true" {
		t.Skip("needs root and brings up a cluster: set E2E=true")
	}
}

// bringUp brings a cluster up in a directory of its own.
func bringUp(t *testing.T) *cluster.Cluster {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "state")
	t.Cleanup(func() {
		if err := Down(context.Background(), dir); err != nil {
			t.Errorf("Down(...): %v", err)
		}
	})
	c, err := Up(t.Context(), Options{Dir: dir, Log: t.Output(), Attached: true})
	if err != nil {
		t.Fatalf("Up(...): %v", err)
	}
	return c
}

func TestClusterRunsPodsAndLeavesNothing(t *testing.T) {
	needE2E(t)
	before := lookAround(t)
	c := bringUp(t)
	inside := namespacesOf(t, c)

	if _, err := Up(t.Context(), Options{Dir: c.Dir()}); err == nil {
		t.Error("Up(...): a second cluster came up in the same directory")
	}
	t.Run("RestrictedPod", func(t *testing.T) { runProbe(t, c, pushProbe(t, c)) })
	t.Run("Registries", func(t *testing.T) { askRegistries(t, c) })
	t.Run("Hub", func(t *testing.T) { askHub(t, c) })

	if err := Down(t.Context(), c.Dir()); err != nil {
		t.Fatalf("Down(...): %v", err)
	}
	inside.gone(t)
	before.same(t, c.Dir())
	if err := Down(t.Context(), c.Dir()); err != nil {
		t.Errorf("Down(...): a second time: %v", err)
	}
}

func TestKilledClusterLeavesNothing(t *testing.T) {
	needE2E(t)
	cases := map[string]struct {
		reason string
		kill   func(t *testing.T, c *cluster.Cluster)
	}{
		"Process1": {
			reason: "The kernel ends all that process 1 of a PID namespace leaves.",
			kill:   func(t *testing.T, c *cluster.Cluster) { sigkill(t, pidOf(t, c)) },
		},
		"Supervisor": {
			reason: "Process 1 ends when the supervisor does.",
			kill:   func(t *testing.T, c *cluster.Cluster) { sigkill(t, childOf(t, pidOf(t, c))) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			before := lookAround(t)
			c := bringUp(t)
			runProbe(t, c, loadProbe(t, c))
			inside := namespacesOf(t, c)
			tc.kill(t, c)
			inside.gone(t)
			if _, err := cluster.Open(c.Dir()); err == nil {
				t.Errorf("\n%s\nOpen(...): it is up", tc.reason)
			}
			if err := Down(t.Context(), c.Dir()); err != nil {
				t.Fatalf("\n%s\nDown(...): %v", tc.reason, err)
			}
			before.same(t, c.Dir())
		})
	}
}

// TestAttachedClusterEndsWithItsOwner brings a cluster up in a process of its
// own and kills that.
func TestAttachedClusterEndsWithItsOwner(t *testing.T) {
	needE2E(t)
	if dir := os.Getenv("ATTACHED_DIR"); dir != "" {
		if _, err := Up(t.Context(), Options{Dir: dir, Log: t.Output(), Attached: true}); err != nil {
			t.Fatalf("Up(...): %v", err)
		}
		fmt.Println("\nup")
		_, _ = io.Copy(io.Discard, os.Stdin) // It waits to be killed.
		return
	}
	before := lookAround(t)
	dir := filepath.Join(t.TempDir(), "state")
	owner := exec.Command(os.Args[0], "-test.run=^TestAttachedClusterEndsWithItsOwner$")
	owner.Env = append(os.Environ(), "ATTACHED_DIR="+dir)
	owner.Stderr = t.Output()
	stdin, err := owner.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := owner.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := owner.Start(); err != nil {
		t.Fatal(err)
	}
	waitForLine(stdout, "up")
	c, err := cluster.Open(dir)
	if err != nil {
		t.Fatalf("Open(...): %v", err)
	}
	inside := namespacesOf(t, c)
	_ = owner.Process.Kill() // Wait tells.
	_ = owner.Wait()         // It was killed.
	inside.gone(t)
	if err := Down(t.Context(), dir); err != nil {
		t.Fatalf("Down(...): %v", err)
	}
	before.same(t, dir)
}

// runProbe runs the probe's image under the restricted Pod security standard,
// on a volume, and reads back what it says.
func runProbe(t *testing.T, c *cluster.Cluster, image string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	config, err := c.RESTConfig()
	if err != nil {
		t.Fatal(err)
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	create(ctx, t, client, image)
	var pod *corev1.Pod
	if err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		pod, err = client.CoreV1().Pods(namespace).Get(ctx, "probe", metav1.GetOptions{})
		return err == nil && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed), err
	}); err != nil {
		out, _ := c.Kubectl(t.Context(), "describe", "pod,pvc,pv", "--namespace", namespace).CombinedOutput()
		t.Fatalf("the Pod does not end: %v\n%s", err, out)
	}
	const want = "kept as 1001, api server 200 OK"
	if got := pod.Status.ContainerStatuses[0].State.Terminated.Message; got != want {
		t.Errorf("termination message: want %q, got %q", want, got)
	}
	logs, err := client.CoreV1().Pods(namespace).GetLogs("probe", &corev1.PodLogOptions{}).DoRaw(ctx)
	if err != nil || strings.TrimSpace(string(logs)) != want {
		t.Errorf("logs: want %q, got %q, error %v", want, logs, err)
	}
	dropClaim(ctx, t, c, client)
}

// create makes the namespace, the claim and the Pod.
func create(ctx context.Context, t *testing.T, client kubernetes.Interface, image string) {
	t.Helper()
	yes, no, id := true, false, int64(1001)
	_, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: namespace, Labels: map[string]string{"pod-security.kubernetes.io/enforce": "restricted"},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	// The claim names no class: the default one serves it.
	if _, err = client.CoreV1().PersistentVolumeClaims(namespace).Create(ctx, &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "data"},
		Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
		},
	}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "probe"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsNonRoot: &yes, RunAsUser: &id, RunAsGroup: &id, FSGroup: &id,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
			},
			Containers: []corev1.Container{{
				Name: "probe", Image: image, ImagePullPolicy: corev1.PullIfNotPresent,
				VolumeMounts: []corev1.VolumeMount{{Name: "data", MountPath: "/data"}},
				Resources:    corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Mi")}},
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no, ReadOnlyRootFilesystem: &yes,
					Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
			}},
			Volumes: []corev1.Volume{{Name: "data", VolumeSource: corev1.VolumeSource{
				PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "data"},
			}}},
		},
	}
	// The namespace's default service account takes a moment.
	if err := wait.PollUntilContextCancel(ctx, 50*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		_, err = client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{})
		return err == nil, nil
	}); err != nil {
		t.Fatalf("cannot create the Pod: %v", err)
	}
}

// dropClaim deletes Pod and claim; the volume and its directory go with them.
func dropClaim(ctx context.Context, t *testing.T, c *cluster.Cluster, client kubernetes.Interface) {
	t.Helper()
	if err := client.CoreV1().Pods(namespace).Delete(ctx, "probe", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := client.CoreV1().PersistentVolumeClaims(namespace).Delete(ctx, "data", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := wait.PollUntilContextCancel(ctx, 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		volumes, err := client.CoreV1().PersistentVolumes().List(ctx, metav1.ListOptions{})
		return err == nil && len(volumes.Items) == 0, err
	}); err != nil {
		t.Errorf("the volume does not go: %v", err)
	}
	if left, err := os.ReadDir(filepath.Join(c.Dir(), "volumes")); err != nil || len(left) > 0 {
		t.Errorf("directories of volumes: want none, got %v, error %v", left, err)
	}
}

// waitForLine reads until a line is there, or the end.
func waitForLine(r io.Reader, line string) {
	var all strings.Builder
	buffer := make([]byte, 4096)
	for !strings.Contains(all.String(), "\n"+line+"\n") {
		n, err := r.Read(buffer)
		all.Write(buffer[:n])
		if err != nil {
			return
		}
	}
}
