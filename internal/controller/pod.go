package controller

import (
	"cmp"
	"context"
	"os"
	"strings"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/crossplane/crossplane-runtime/v2/pkg/logging"
	corev1 "k8s.io/api/core/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

const (
	// runtimeContainer is Crossplane's name for a package's own container.
	runtimeContainer = "package-runtime"

	// namespaceFile holds the namespace of a Pod (Kubernetes documentation,
	// "Accessing the Kubernetes API from a Pod").
	namespaceFile = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"
)

// OwnPod returns the name of the Pod that this process runs in, or an empty one
// outside of a cluster. The namespace is that of the environment, which Crossplane
// sets, or else the ServiceAccount's. The name defaults to the host's name, which
// is the Pod's.
func OwnPod() types.NamespacedName {
	namespace := os.Getenv("POD_NAMESPACE")
	if data, err := os.ReadFile(namespaceFile); namespace == "" && err == nil {
		namespace = strings.TrimSpace(string(data))
	}
	if namespace == "" {
		return types.NamespacedName{}
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	return types.NamespacedName{Namespace: namespace, Name: cmp.Or(os.Getenv("POD_NAME"), host)}
}

// WorkerImage returns the image of a Pod of the provider, which holds the worker,
// too. If that is not known it returns the published image, and logs why.
func WorkerImage(ctx context.Context, kube client.Reader, pod types.NamespacedName, log logging.Logger) string {
	image := ""
	backoff := wait.Backoff{Duration: time.Second, Factor: 2, Jitter: 0.5, Steps: 5}
	var last error
	err := wait.ExponentialBackoffWithContext(ctx, backoff, func(ctx context.Context) (bool, error) {
		image, last = podImage(ctx, kube, pod)
		return last == nil || kerrors.IsNotFound(last) || kerrors.IsForbidden(last) || errors.Is(last, errNoPod), nil
	})
	if err != nil || last != nil {
		image = version.Image()
		log.Info("Runs use the published image for their worker, since that of the provider's own Pod is not known", "image", image, "error", errors.Join(err, last))
		return image
	}
	log.Info("Runs use the provider's own image for their worker", "image", image)
	return image
}

// errNoPod is the error of a process that does not run in a Pod.
var errNoPod = errors.New("the process does not run in a Pod")

// podImage returns the image of the container that Crossplane calls the runtime,
// or else of the first one. It is the image of the Pod's spec, not what a node
// resolved it to.
func podImage(ctx context.Context, kube client.Reader, name types.NamespacedName) (string, error) {
	if name.Namespace == "" || name.Name == "" {
		return "", errNoPod
	}
	pod := &corev1.Pod{}
	if err := kube.Get(ctx, name, pod); err != nil {
		return "", errors.Wrapf(err, "cannot get the Pod %q", name)
	}
	for _, c := range pod.Spec.Containers {
		if c.Name == runtimeContainer {
			return c.Image, nil
		}
	}
	if len(pod.Spec.Containers) == 0 {
		return "", errors.Errorf("the Pod %q has no containers", name)
	}
	return pod.Spec.Containers[0].Image, nil
}
