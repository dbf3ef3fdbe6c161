package platform

import (
	"context"
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// Describe returns what a person looks at when something does not work: the
// Artifacts, the Pods and the ends of their logs. What cannot be read is left
// out.
func (l *Local) Describe(ctx context.Context) string {
	out := &strings.Builder{}
	for _, args := range [][]string{
		{"get", "artifacts,jobs,pods,pvc,pv", "--all-namespaces", "--output=wide"},
		{"get", "events", "--all-namespaces", "--sort-by=.lastTimestamp"},
	} {
		text, _ := l.Cluster.Kubectl(ctx, args...).CombinedOutput()
		fmt.Fprintf(out, "kubectl %s\n%s\n", strings.Join(args, " "), text)
	}
	clientset, err := kubernetes.NewForConfig(l.REST)
	if err != nil {
		return out.String()
	}
	pods := &corev1.PodList{}
	if err := l.Client.List(ctx, pods); err != nil {
		return out.String()
	}
	for _, p := range pods.Items {
		logs, _ := clientset.CoreV1().Pods(p.GetNamespace()).GetLogs(p.GetName(), &corev1.PodLogOptions{TailLines: ptr.To[int64](20)}).DoRaw(ctx)
		fmt.Fprintf(out, "logs of %s/%s\n%s\n", p.GetNamespace(), p.GetName(), logs)
	}
	return out.String()
}
