package artifact

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"time"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/retry"
)

const (
	defaultRetryLimit    = int32(5)
	defaultRetryInterval = 30 * time.Second

	// longestRetryWait bounds the waits that double, and what a server may ask
	// for.
	longestRetryWait = time.Hour
)

// RetryWait returns how long to wait after the end of a run until it is tried
// again, and whether it is at all: where the failure may pass by itself and
// the Artifact's limit is not reached. A run that did not start has tried
// nothing, and no limit holds for it. The wait doubles with each failure and
// is never shorter than what a server asked for. Up to half of it is added,
// which differs between Artifacts and runs but is the same at any time.
func RetryWait(a *modelv1alpha1.Artifact, failures, run int64, f outcome.Failure) (time.Duration, bool) {
	limit, wait := defaultRetryLimit, defaultRetryInterval
	if p := a.Spec.ForProvider.Retry; p != nil {
		if p.Limit != nil {
			limit = *p.Limit
		}
		if p.Interval != nil {
			wait = p.Interval.Duration
		}
	}
	if !f.Reason.Passes() || (failures > int64(limit) && f.Reason != outcome.NotStarted) {
		return 0, false
	}
	asked := time.Duration(min(f.RetryAfterSeconds, int64(longestRetryWait/time.Second))) * time.Second
	wait = max(retry.Backoff(int(failures), wait, longestRetryWait), asked)
	return wait + time.Duration(float64(wait/2)*spread(a, run)), true
}

// spread returns a number from 0 to 1 for an Artifact's run.
func spread(a *modelv1alpha1.Artifact, run int64) float64 {
	sum := sha256.Sum256([]byte(string(a.GetUID()) + "/" + strconv.FormatInt(run, 10)))
	return float64(binary.BigEndian.Uint32(sum[:4])) / float64(1<<32)
}
