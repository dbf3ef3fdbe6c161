package artifact

import (
	"regexp"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	batchv1 "k8s.io/api/batch/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/crossplane-contrib/provider-kitops/internal/access"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Forms in which the API server refuses an object
// (k8s.io/apiserver/pkg/admission/plugin/resourcequota and
// k8s.io/apiserver/pkg/admission).
var (
	quotaExceeded = regexp.MustCompile(`exceeded quota: ([^,\s]+), requested: (.+?), used: `)
	quotaUnmet    = regexp.MustCompile(`failed quota: ([^:\s]+): (must specify .+)$`)
	forbidden     = regexp.MustCompile(`^\S+ ("[^"]*" )?is forbidden: `)
	invalid       = regexp.MustCompile(`^.*? is invalid: `)
	deniedBy      = regexp.MustCompile(`admission webhook "([^"]+)" denied the request`)
)

// Refusal returns err, which came of creating what, as an error with a reason
// and a cure where the API server refused the object: by a quota, by an
// admission policy, for want of a right, or since it is not valid. Other
// errors, which may pass, are wrapped as they are.
func Refusal(err error, what string) error {
	if why := access.Denied(err); why != nil {
		return why
	}
	switch {
	case err == nil:
		return nil
	case kerrors.IsForbidden(err), kerrors.IsInvalid(err), kerrors.IsBadRequest(err), deniedBy.MatchString(err.Error()):
		return refusedBy(what, err.Error()).Because(err)
	}
	return errors.Wrapf(err, "cannot create %s", what)
}

// refusedBy returns why the API server refused an object, from what it said.
// What is used of a quota changes all the time and is left out.
func refusedBy(what, why string) *outcome.Error {
	if m := quotaExceeded.FindStringSubmatch(why); m != nil {
		return outcome.Errorf(outcome.QuotaExceeded, "ResourceQuota %q leaves no room for %s, which asks for %s: raise the quota, free some of it, or ask for less in spec.forProvider.job.resources or spec.forProvider.storage.size", m[1], what, m[2])
	}
	if m := quotaUnmet.FindStringSubmatch(why); m != nil {
		return outcome.Errorf(outcome.QuotaExceeded, "ResourceQuota %q does not admit %s: it %s: write spec.forProvider.job.resources", m[1], what, m[2])
	}
	why = invalid.ReplaceAllString(forbidden.ReplaceAllString(why, ""), "")
	return outcome.Errorf(outcome.Refused, "The cluster refuses %s (%s): change spec.forProvider.job or the policy", what, why)
}

// withoutPodNames returns a text without the name that the Job controller tried
// to give to a Pod, which is another each time.
func withoutPodNames(job *batchv1.Job, text string) string {
	name := regexp.MustCompile(regexp.QuoteMeta(job.GetName()) + `-[a-z0-9]{5}\b`)
	return name.ReplaceAllString(text, job.GetName())
}
