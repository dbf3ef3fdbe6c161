package plugin

import (
	"context"
	"slices"

	"github.com/spf13/cobra"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/version"
)

var (
	artifactResource = modelv1alpha1.SchemeGroupVersion.WithResource("artifacts")
	podResource      = schema.GroupVersionResource{Version: "v1", Resource: "pods"}
	eventResource    = schema.GroupVersionResource{Version: "v1", Resource: "events"}
	nsResource       = schema.GroupVersionResource{Version: "v1", Resource: "namespaces"}
)

// pageSize is how many objects are listed with one request, as kubectl does.
const pageSize = 500

// A cluster is what the user's kubeconfig and flags name.
type cluster struct {
	dynamic.Interface

	config    *rest.Config
	namespace string
}

// cluster returns the cluster that the user means.
func (c *command) cluster() (*cluster, error) {
	loaded := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(c.loading, c.overrides)
	namespace, _, err := loaded.Namespace()
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the kubeconfig")
	}
	config, err := loaded.ClientConfig()
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the kubeconfig")
	}
	config.UserAgent = "kubectl-kitops/" + version.Version
	config.QPS, config.Burst = 50, 100
	// Warnings are what a server says.
	config.WarningHandler = rest.NewWarningWriter(c.err, rest.WarningWriterOptions{Deduplicate: true})
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, errors.Wrap(err, "cannot create a client of the cluster")
	}
	return &cluster{Interface: client, config: config, namespace: namespace}, nil
}

// artifacts of a namespace; of all for "".
func (c *cluster) artifacts(namespace string) dynamic.ResourceInterface {
	return c.Resource(artifactResource).Namespace(namespace)
}

// artifact returns one Artifact of the user's namespace.
func (c *cluster) artifact(ctx context.Context, name string) (*modelv1alpha1.Artifact, error) {
	u, err := c.artifacts(c.namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, describe(err, "cannot get Artifact %s/%s", c.namespace, name)
	}
	return as[modelv1alpha1.Artifact](u)
}

// selectArtifacts returns the Artifacts with these names in the user's namespace, or
// without names all of a namespace; of all namespaces for "".
func (c *cluster) selectArtifacts(ctx context.Context, namespace string, names []string) ([]modelv1alpha1.Artifact, error) {
	if len(names) == 0 {
		return listAs[modelv1alpha1.Artifact](ctx, c.artifacts(namespace), metav1.ListOptions{}, "Artifacts")
	}
	var out []modelv1alpha1.Artifact
	for _, name := range names {
		a, err := c.artifact(ctx, name)
		if err != nil {
			return nil, err
		}
		out = append(out, *a)
	}
	return out, nil
}

// listAs returns all objects of a list, page by page.
func listAs[T any](ctx context.Context, r dynamic.ResourceInterface, o metav1.ListOptions, what string) ([]T, error) {
	var out []T
	o.Limit = pageSize
	for {
		page, err := r.List(ctx, o)
		if err != nil {
			return nil, describe(err, "cannot list %s", what)
		}
		for i := range page.Items {
			one, err := as[T](&page.Items[i])
			if err != nil {
				return nil, err
			}
			out = append(out, *one)
		}
		if o.Continue = page.GetContinue(); o.Continue == "" {
			return out, nil
		}
	}
}

// as returns an object as a Go type. Fields that the type does not have are left out.
func as[T any](u *unstructured.Unstructured) (*T, error) {
	out := new(T)
	err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, out)
	return out, errors.Wrapf(err, "cannot read %s %s/%s", u.GetKind(), u.GetNamespace(), u.GetName())
}

// describe wraps an error of the API server. A kind that it does not know has a cure.
func describe(err error, format string, a ...any) error {
	var status kerrors.APIStatus
	if kerrors.IsNotFound(err) && errors.As(err, &status) && (status.Status().Details == nil || status.Status().Details.Name == "") {
		err = errors.Errorf("%w: is provider-kitops installed in this cluster?", err)
	}
	return errors.Wrapf(err, format, a...)
}

// completeArtifacts completes names of Artifacts in the user's namespace.
func (c *command) completeArtifacts(cmd *cobra.Command, args []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(cmd.Context(), args, func(k *cluster) dynamic.ResourceInterface { return k.artifacts(k.namespace) })
}

// completeNamespaces completes names of namespaces.
func (c *command) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
	return c.complete(cmd.Context(), nil, func(k *cluster) dynamic.ResourceInterface { return k.Resource(nsResource) })
}

// complete completes names of objects that were not named yet.
func (c *command) complete(ctx context.Context, args []string, of func(*cluster) dynamic.ResourceInterface) ([]cobra.Completion, cobra.ShellCompDirective) {
	k, err := c.cluster()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	all, err := of(k).List(ctx, metav1.ListOptions{Limit: pageSize})
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []cobra.Completion
	for i := range all.Items {
		if name := all.Items[i].GetName(); !slices.Contains(args, name) {
			out = append(out, name)
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}

// completeContexts completes names of the kubeconfig's contexts.
func (c *command) completeContexts(*cobra.Command, []string, string) ([]cobra.Completion, cobra.ShellCompDirective) {
	config, err := c.loading.Load()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	var out []cobra.Completion
	for name := range config.Contexts {
		out = append(out, name)
	}
	slices.Sort(out)
	return out, cobra.ShellCompDirectiveNoFileComp
}

// scope returns the user's namespace, or none for all namespaces.
func (c *cluster) scope(all bool) string {
	if all {
		return ""
	}
	return c.namespace
}

// onArtifact returns what a command does that is about the Artifact of its first argument.
func (c *command) onArtifact(do func(context.Context, *cluster, *modelv1alpha1.Artifact) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		k, err := c.cluster()
		if err != nil {
			return err
		}
		a, err := k.artifact(cmd.Context(), args[0])
		if err != nil {
			return err
		}
		return do(cmd.Context(), k, a)
	}
}
