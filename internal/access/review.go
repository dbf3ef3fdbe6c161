package access

import (
	"context"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	authenticationv1 "k8s.io/api/authentication/v1"
	authorizationv1 "k8s.io/api/authorization/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// role is the file that grants what Crossplane does not.
const role = "examples/install/rbac.yaml"

// Allowed says whether the provider is allowed all of a need. The namespace is
// the provider's own.
func Allowed(ctx context.Context, kube client.Client, n Need, namespace string) (bool, error) {
	lacking, err := lacking(ctx, kube, []Need{n}, namespace)
	return len(lacking) == 0, err
}

// lacking returns those needs, with those of their verbs, that the provider is
// not allowed.
func lacking(ctx context.Context, kube client.Client, needs []Need, namespace string) ([]Need, error) {
	var out []Need
	for _, n := range needs {
		missing := n
		missing.Verbs = nil
		for _, verb := range n.Verbs {
			allowed, err := review(ctx, kube, n, verb, namespace)
			if err != nil {
				return nil, err
			}
			if !allowed {
				missing.Verbs = append(missing.Verbs, verb)
			}
		}
		if len(missing.Verbs) > 0 {
			out = append(out, missing)
		}
	}
	return out, nil
}

// review asks the API server about one verb.
func review(ctx context.Context, kube client.Client, n Need, verb, namespace string) (bool, error) {
	resource, subresource, _ := strings.Cut(n.Resource, "/")
	r := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{
		ResourceAttributes: &authorizationv1.ResourceAttributes{Group: n.Group, Resource: resource, Subresource: subresource, Name: n.Name, Verb: verb},
	}}
	if n.Own {
		r.Spec.ResourceAttributes.Namespace = namespace
	}
	err := kube.Create(ctx, r)
	return r.Status.Allowed, errors.Wrapf(err, "cannot ask whether the provider may %s %s", verb, n.Resource)
}

// whoAmI returns the user that the provider is to the API server, "" where it
// does not say.
func whoAmI(ctx context.Context, kube client.Client) string {
	r := &authenticationv1.SelfSubjectReview{}
	if err := kube.Create(ctx, r); err != nil {
		return ""
	}
	return r.Status.UserInfo.Username
}

// missing returns what is to be told of needs that a user is not allowed.
func missing(user string, needs ...Need) *outcome.Error {
	texts := make([]string, 0, len(needs))
	for _, n := range needs {
		texts = append(texts, n.String())
	}
	return outcome.Errorf(outcome.PermissionMissing, "The provider may not %s: apply the ClusterRole in %s and bind it to %s",
		strings.Join(texts, "; "), role, account(user))
}

// account returns a user as it is written in a binding.
func account(user string) string {
	name, ok := strings.CutPrefix(user, "system:serviceaccount:")
	switch {
	case ok:
		return "ServiceAccount " + strings.Replace(name, ":", "/", 1)
	case user == "":
		return "the provider's ServiceAccount"
	}
	return "user " + user
}
