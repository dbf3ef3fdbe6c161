package registry

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// testStall is how long a registry may stand still in these tests.
const testStall = 300 * time.Millisecond

// A verdict is what a client makes of a fault; the zero value is that nothing
// went wrong.
type verdict struct {
	Reason outcome.Reason
	Passes bool
	After  time.Duration
}

func verdictOn(err error) verdict {
	v := verdict{Reason: reasonOf(err)}
	v.Passes = v.Reason.Transient()
	var e *outcome.Error
	if errors.As(err, &e) {
		v.After = e.RetryAfter
	}
	return v
}

// words that a registry says, and no message may repeat.
const secretWord = "the secret word"

// TestDistributionFaults has every operation meet every fault, at each try.
func TestDistributionFaults(t *testing.T) {
	t.Parallel()
	var (
		fine        = verdict{}
		refused     = verdict{Reason: outcome.Unauthorized}
		missing     = verdict{Reason: outcome.NotFound}
		unsupported = verdict{Reason: outcome.Unsupported}
		busy        = verdict{Reason: outcome.RateLimited, Passes: true, After: 7 * time.Second}
		down        = verdict{Reason: outcome.Unavailable, Passes: true}
		mismatch    = verdict{Reason: outcome.Mismatch}
	)
	status := func(code int, header ...string) testregistry.Fault {
		return testregistry.Status(code, "UNKNOWN", secretWord+" "+testPassword, header...)
	}
	cases := map[string]struct {
		reason string
		fault  testregistry.Fault
		want   verdict
		but    map[string]verdict // By operation.
		stalls bool
	}{
		"401": {reason: "The account is wrong.", fault: status(401, "WWW-Authenticate", `Basic realm="x"`), want: refused},
		"403": {reason: "The account may not.", fault: status(403), want: refused},
		"404": {
			reason: "What is to be taken away, or looked for, may be missing.", fault: status(404), want: missing,
			but: map[string]verdict{"HasBlob": fine, "Referrers": fine, "Untag": fine, "DeleteManifest": fine},
		},
		"405":      {reason: "The registry cannot.", fault: status(405), want: unsupported},
		"429":      {reason: "The registry says when to come back.", fault: status(429, "Retry-After", "7"), want: busy},
		"500":      {reason: "The registry fails.", fault: status(500), want: down},
		"Reset":    {reason: "The connection is reset.", fault: testregistry.Reset(0), want: down},
		"Stall":    {reason: "The registry stands still.", fault: testregistry.Stall(0), want: down, stalls: true},
		"ColdBody": {reason: "It stands still in an answer's body, where there is one.", fault: testregistry.StallBody(5), want: fine, but: map[string]verdict{"Manifest": down, "OpenBlob": down, "Tags": down, "DeleteManifest": down}, stalls: true},
		"Cut":      {reason: "An answer's body is cut.", fault: testregistry.Cut(5), want: fine, but: map[string]verdict{"Manifest": down, "OpenBlob": down, "Tags": down, "DeleteManifest": down}},
		"Truncated": {
			reason: "A body that is whole, by what its header says, and is not what was asked for.", fault: testregistry.Truncate(5), want: fine,
			but: map[string]verdict{"Manifest": mismatch, "OpenBlob": down, "Tags": down, "DeleteManifest": mismatch},
		},
	}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	pusher := newClient(t, optionsFor(r))
	for name, tc := range cases {
		for op, do := range operations {
			t.Run(name+op, func(t *testing.T) {
				t.Parallel()
				s := store(t, pusher, strings.ToLower("faults/"+name+"/"+op))
				want, ok := tc.but[op]
				if !ok {
					want = tc.want
				}
				front := r.Front(t)
				front.SetFault(tc.fault)
				ctx, c := t.Context(), newClient(t, optionsFor(front))
				if tc.stalls {
					ctx, c = shortly(t), withoutRetries(t, front)
				}
				err := do(ctx, c, s)
				if diff := cmp.Diff(want, verdictOn(err)); diff != "" {
					t.Errorf("\n%s\n%s: -want, +got:\n%s\n%v", tc.reason, op, diff, err)
				}
				checkRefusal(t, tc.reason, err, want.Reason, "")
			})
		}
	}
}

// TestDistributionPasses has every operation meet faults that pass.
func TestDistributionPasses(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		fault  testregistry.Fault
	}{
		"429":   {reason: "A while later it answers.", fault: testregistry.Status(429, "TOOMANYREQUESTS", "", "Retry-After", "0")},
		"500":   {reason: "The next time it answers.", fault: testregistry.Status(500, "UNKNOWN", "")},
		"Reset": {reason: "Another connection holds.", fault: testregistry.Reset(0)},
	}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	pusher := newClient(t, optionsFor(r))
	for name, tc := range cases {
		for op, do := range operations {
			t.Run(name+op, func(t *testing.T) {
				t.Parallel()
				s := store(t, pusher, strings.ToLower("passes/"+name+"/"+op))
				front := r.Front(t)
				front.SetFault(testregistry.Times(2, testregistry.On("", ""), tc.fault))
				o := optionsFor(front)
				if err := do(t.Context(), newClient(t, o), s); err != nil {
					t.Errorf("\n%s\n%s: %v", tc.reason, op, err)
				}
				front.SetFault(testregistry.Times(2, testregistry.On("", ""), tc.fault))
				o.SingleTry = true
				if err := do(t.Context(), newClient(t, o), s); !verdictOn(err).Passes {
					t.Errorf("\n%s\n%s: want who tries once to learn of it, got %v", tc.reason, op, err)
				}
			})
		}
	}
}

// TestDistributionPutFaults has the request that a blob's bytes go with meet
// faults. It cannot be made again.
func TestDistributionPutFaults(t *testing.T) {
	t.Parallel()
	const some = 100_000
	cases := map[string]struct {
		reason string
		fault  testregistry.Fault
		want   verdict
		stalls bool
	}{
		"403":     {reason: "The account may begin, and not end.", fault: testregistry.Status(403, "DENIED", secretWord), want: verdict{Reason: outcome.Unauthorized}},
		"405":     {reason: "The registry cannot.", fault: testregistry.Status(405, "UNSUPPORTED", secretWord), want: verdict{Reason: outcome.Unsupported}},
		"413":     {reason: "A proxy has a limit.", fault: testregistry.Status(413, "UNKNOWN", secretWord), want: verdict{Reason: outcome.NoSpace}},
		"429":     {reason: "The registry says when to come back.", fault: testregistry.Status(429, "TOOMANYREQUESTS", secretWord, "Retry-After", "7"), want: verdict{Reason: outcome.RateLimited, Passes: true, After: 7 * time.Second}},
		"500":     {reason: "The registry fails.", fault: testregistry.Status(500, "UNKNOWN", secretWord), want: verdict{Reason: outcome.Unavailable, Passes: true}},
		"Reset":   {reason: "The connection is reset at once.", fault: testregistry.Reset(0), want: verdict{Reason: outcome.Unavailable, Passes: true}},
		"Middle":  {reason: "Or in the middle of the bytes.", fault: testregistry.Reset(some), want: verdict{Reason: outcome.Unavailable, Passes: true}},
		"Stall":   {reason: "The registry takes no bytes.", fault: testregistry.Stall(0), want: verdict{Reason: outcome.Unavailable, Passes: true}, stalls: true},
		"Stuck":   {reason: "Or no more.", fault: testregistry.Stall(some), want: verdict{Reason: outcome.Unavailable, Passes: true}, stalls: true},
		"Swallow": {reason: "Or takes all and says nothing.", fault: testregistry.Stall(1 << 40), want: verdict{Reason: outcome.Unavailable, Passes: true}, stalls: true},
	}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			front := r.Front(t)
			front.SetFault(testregistry.Times(testregistry.Always, testregistry.On(http.MethodPut, "/blobs/uploads/"), tc.fault))
			content := []byte(strings.Repeat("weight", 2<<20))
			d := describe("a/b", content)
			c := newClient(t, optionsFor(front))
			if tc.stalls {
				c = withoutRetries(t, front)
			}
			err := c.PushBlob(t.Context(), repository, d, halfTime(content, 0))
			if diff := cmp.Diff(tc.want, verdictOn(err)); diff != "" {
				t.Errorf("\n%s\nPushBlob(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			checkRefusal(t, tc.reason, err, tc.want.Reason, "")
			if has, err := c.HasBlob(t.Context(), repository, d); has || err != nil {
				t.Errorf("\n%s\nHasBlob(...): want nothing of it to be there, got %t, %v", tc.reason, has, err)
			}
		})
	}
}

// impatient returns a client for which a registry soon stands still.
func withoutRetries(t *testing.T, r *testregistry.Registry) *Client {
	t.Helper()
	c := newClient(t, optionsFor(r))
	c.stall, c.commit = testStall, testStall
	return c
}

// shortly returns a context with the end that ask gives requests, sooner.
func shortly(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), 2*testStall, errStalled)
	t.Cleanup(cancel)
	return ctx
}
