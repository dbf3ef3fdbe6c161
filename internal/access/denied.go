package access

import (
	"regexp"
	"strings"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	kerrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// denied is how the API server says that a user lacks a permission, and not that
// an admission policy refuses an object
// (k8s.io/apiserver/pkg/endpoints/handlers/responsewriters).
var denied = regexp.MustCompile(`User "([^"]*)" cannot (\S+) resource "([^"]+)" in API group "([^"]*)"`)

// Denied returns err as an error that names the permission that the provider
// lacks and how it is granted, nil where err is nothing of the kind.
func Denied(err error) *outcome.Error {
	var status kerrors.APIStatus
	if !kerrors.IsForbidden(err) || !errors.As(err, &status) {
		return nil
	}
	m := denied.FindStringSubmatch(status.Status().Message)
	if m == nil {
		return nil
	}
	return missing(m[1], Need{Group: m[4], Resource: strings.TrimSpace(m[3]), Verbs: []string{m[2]}}).Because(err)
}
