package pipeline

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/provenance"
)

// A claimCase is a run and what the registry has before it.
type claimCase struct {
	reason string
	setup  func(t *testing.T, w *claimWorld)
	want   claimWant
}

type claimWant struct {
	Reason outcome.Reason
	Pushed []string
	Own    bool   // Whether the tag is on what the run pushed.
	Log    string // Words in the log.
}

func TestStreamClaims(t *testing.T) {
	whole := []string{aBlob, aManifest, aRecord, aTag}
	cases := map[string]claimCase{
		"Free": {
			reason: "The registry knows whose an artifact is before its tag points to it.",
			setup:  func(*testing.T, *claimWorld) {},
			want:   claimWant{Pushed: whole, Own: true},
		},
		"Nobody": {
			reason: "A run by hand overwrites what it is told to, and tells of nobody.",
			setup: func(t *testing.T, w *claimWorld) {
				w.foreign(t, "v1")
				w.run.Owner = provenance.Owner{}
			},
			want: claimWant{Pushed: []string{aBlob, aTag}, Own: true},
		},
		"Foreign": {
			reason: "Nothing foreign is overwritten, and nothing moved in vain.",
			setup:  func(t *testing.T, w *claimWorld) { w.foreign(t, "v1") },
			want:   claimWant{Reason: outcome.TagConflict},
		},
		"OtherOwner": {
			reason: "What another Artifact pushed is foreign.",
			setup:  func(t *testing.T, w *claimWorld) { w.record(t, w.foreign(t, "v1"), otherOwner, 1) },
			want:   claimWant{Reason: outcome.TagConflict},
		},
		"Overwrite": {
			reason: "Unless the spec says so.",
			setup: func(t *testing.T, w *claimWorld) {
				w.foreign(t, "v1")
				w.run.Overwrite = true
			},
			want: claimWant{Pushed: whole, Own: true, Log: "it is overwritten, as the spec says"},
		},
		"Replaces": {
			reason: "What the Artifact knows to have pushed it may replace, also without provenance.",
			setup:  func(t *testing.T, w *claimWorld) { w.run.Replaces = w.foreign(t, "v1").Digest.String() },
			want:   claimWant{Pushed: whole, Own: true},
		},
		"OwnRecord": {
			reason: "What an earlier run pushed it may replace, also if the Artifact does not know.",
			setup:  func(t *testing.T, w *claimWorld) { w.record(t, w.foreign(t, "v1"), claimOwner, 1) },
			want:   claimWant{Pushed: whole, Own: true},
		},
		"Race": {
			reason: "A tag that comes while bytes are moved is not overwritten.",
			setup: func(t *testing.T, w *claimWorld) {
				w.watched.after[aBlob] = func() { w.foreign(t, "v1") }
			},
			want: claimWant{Reason: outcome.TagConflict, Pushed: []string{aBlob, aTag, aBlob, aManifest}},
		},
		"OverwriteRace": {
			reason: "Unless the spec says so.",
			setup: func(t *testing.T, w *claimWorld) {
				w.run.Overwrite = true
				w.watched.after[aRecord] = func() { w.foreign(t, "v1") }
			},
			want: claimWant{Pushed: whole, Own: true},
		},
		"NotShown": {
			reason: "Some registries do not show what does not exist yet.",
			setup: func(_ *testing.T, w *claimWorld) {
				w.watched.refuse(1, http.StatusForbidden, http.MethodHead, "/manifests/v1")
			},
			want: claimWant{Pushed: whole, Own: true, Log: "cannot see whether tag v1 is free"},
		},
		"NeverShown": {
			reason: "What is there by now is shown to whoever may overwrite it.",
			setup: func(_ *testing.T, w *claimWorld) {
				w.watched.refuse(1000, http.StatusUnauthorized, http.MethodHead, "/manifests/v1")
			},
			want: claimWant{Reason: outcome.Unauthorized, Pushed: []string{aBlob, aManifest}},
		},
		"RecordForbidden": {
			reason: "A registry that wants other credentials may take the record with them.",
			setup: func(_ *testing.T, w *claimWorld) {
				w.watched.refuse(1000, http.StatusForbidden, http.MethodPut, aRecord)
			},
			want: claimWant{Reason: outcome.Unauthorized, Pushed: []string{aBlob, aManifest, aRecord}},
		},
		"RecordInvalid":     recordRefused(http.StatusBadRequest),
		"RecordNotFound":    recordRefused(http.StatusNotFound),
		"RecordNotAllowed":  recordRefused(http.StatusMethodNotAllowed),
		"RecordUnsupported": recordRefused(http.StatusUnsupportedMediaType),
		"ManifestRefused": {
			reason: "A registry that takes no such artifact fails the run.",
			setup: func(_ *testing.T, w *claimWorld) {
				w.watched.refuse(1000, http.StatusBadRequest, http.MethodPut, aManifest)
			},
			want: claimWant{Reason: outcome.Unsupported, Pushed: []string{aBlob, aManifest}},
		},
	}
	for kind, api := range map[string]bool{"API": true, "Fallback": false} {
		for name, tc := range cases {
			t.Run(kind+name, func(t *testing.T) {
				w := newClaimWorld(t, api)
				tc.setup(t, w)
				before := ""
				if tc.want.Pushed == nil {
					before = w.tagged(t)
				}
				w.watched.take()
				result, err := w.stream.Run(t.Context(), w.run)
				got := claimWant{Pushed: withoutLists(w.watched.take())}
				if err != nil {
					got.Reason = outcome.ReasonOf(err)
				}
				got.Own = err == nil && w.tagged(t) == result.Digest
				if strings.Contains(w.log.String(), tc.want.Log) {
					got.Log = tc.want.Log
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\nRun(...): -want, +got:\n%s\n%v\n%s", tc.reason, diff, err, w.log)
				}
				if len(got.Pushed) == 0 && (w.tagged(t) != before || w.asked("/cdn/") > 0) {
					t.Errorf("\n%s\nRun(...): want nothing to be moved, got %s", tc.reason, w.log)
				}
			})
		}
	}
}

// recordRefused is a run to a registry that refuses the record with a status.
func recordRefused(status int) claimCase {
	return claimCase{
		reason: "A registry that takes no such manifests fails no run.",
		setup: func(_ *testing.T, w *claimWorld) {
			w.watched.refuse(1000, status, http.MethodPut, aRecord)
		},
		want: claimWant{Pushed: []string{aBlob, aManifest, aRecord, aTag}, Own: true, Log: "does not adopt it"},
	}
}

// withoutLists leaves out the lists that clients keep where a registry has no
// referrers API.
func withoutLists(pushed []string) []string {
	out := slices.DeleteFunc(pushed, func(what string) bool { return what == aList })
	if out = slices.Compact(out); len(out) == 0 {
		return nil
	}
	return out
}

func TestTagConflict(t *testing.T) {
	w := newClaimWorld(t, true)
	d := w.foreign(t, "v1").Digest
	_, err := w.stream.Run(t.Context(), w.run)
	want := `Tag "v1" of models/model at registry ` + w.run.Target.Registry + " points to " + d.String() + ", which this Artifact did not push: " +
		"remove that tag, write another in spec.forProvider.target.tag, or set spec.forProvider.target.conflictPolicy: Overwrite"
	if err == nil || err.Error() != want {
		t.Errorf("want %q, got %v", want, err)
	}
}

// Two Artifacts push the same content under one tag at once. The digest is the
// same, and yet it is the first one's.
func TestStreamRaceAlike(t *testing.T) {
	for kind, api := range map[string]bool{"API": true, "Fallback": false} {
		for _, at := range []string{aManifest, aRecord} {
			t.Run(kind+"After"+at, func(t *testing.T) {
				w := newClaimWorld(t, api)
				first := w.run
				first.Owner = otherOwner
				first.Log = nil
				w.watched.after[at] = func() {
					if _, err := w.stream.Run(t.Context(), first); err != nil {
						t.Error(err)
					}
				}
				_, err := w.stream.Run(t.Context(), w.run)
				if err == nil || outcome.ReasonOf(err) != outcome.TagConflict {
					t.Errorf("want a conflict, got %v\n%s", err, w.log)
				}
				d := w.tagged(t)
				if n := len(w.records(t, d, otherOwner)); n != 1 {
					t.Errorf("want the first one to own %s, got %d records", d, n)
				}
				if n := len(w.records(t, d, claimOwner)); n != 0 {
					t.Errorf("want the second one not to own %s, got %d records", d, n)
				}
			})
		}
	}
}

func TestStreamRecords(t *testing.T) {
	w := newClaimWorld(t, true)
	w.run.Number = 7
	result, err := w.stream.Run(t.Context(), w.run)
	if err != nil {
		t.Fatal(err)
	}
	want := []provenance.Record{{
		Owner: claimOwner, RunHash: claimHash, Run: 7, Files: int64(result.Files),
		Source: w.run.Source.Endpoint + "/" + streamModel, Revision: result.Revision, License: "Apache-2.0",
	}}
	if diff := cmp.Diff(want, w.records(t, result.Digest, claimOwner)); diff != "" {
		t.Errorf("records: -want, +got:\n%s", diff)
	}

	// The same content of another Artifact's, in another run, has the same digest.
	other := w.run
	other.Owner, other.Number, other.Target.Tag = otherOwner, 1, "v2"
	again, err := w.stream.Run(t.Context(), other)
	if err != nil || again.Digest != result.Digest {
		t.Errorf("want the same content to have digest %s, got %s, %v", result.Digest, again.Digest, err)
	}
}
