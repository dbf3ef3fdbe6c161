package artifact

import (
	"context"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/connection"
)

// named reads Artifacts that have the name that is asked for.
type named struct{ client.Reader }

func (named) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	o.SetNamespace(key.Namespace)
	o.SetName(key.Name)
	return nil
}

// TestThrottle has Artifacts, whose names are those of their registries,
// reconciled at once by eight workers, none of which comes to an end.
func TestThrottle(t *testing.T) {
	type key = types.NamespacedName
	many := func(n int, k key) []key {
		var out []key
		for range n {
			out = append(out, k)
		}
		return out
	}
	cases := map[string]struct {
		reason string
		first  []key
		then   []key
		quick  []string
		want   map[string]int // How many go on, by namespace and registry.
	}{
		"Slow": {
			reason: "A registry that does not answer holds two workers of eight.",
			first:  many(8, key{Namespace: "a", Name: "silent"}),
			then:   []key{{Namespace: "b", Name: "other"}},
			want:   map[string]int{"a/silent": 2, "b/other": 1},
		},
		"SlowOnes": {
			reason: "All of a namespace hold half of them.",
			first:  append(append(many(3, key{Namespace: "a", Name: "x"}), many(3, key{Namespace: "a", Name: "y"})...), key{Namespace: "a", Name: "z"}),
			then:   []key{{Namespace: "b", Name: "other"}, {Namespace: "a", Name: "quick"}},
			quick:  []string{"quick"},
			want:   map[string]int{"a/x": 2, "a/y": 2, "b/other": 1, "a/quick": 1},
		},
		"Hostile": {
			reason: "Two namespaces with many silent registries leave a worker to a third one, whose registry nobody has asked yet.",
			first: append(
				[]key{{Namespace: "a", Name: "1"}, {Namespace: "a", Name: "2"}, {Namespace: "a", Name: "3"}, {Namespace: "a", Name: "4"}, {Namespace: "a", Name: "5"}},
				[]key{{Namespace: "b", Name: "6"}, {Namespace: "b", Name: "7"}, {Namespace: "b", Name: "8"}, {Namespace: "b", Name: "9"}}...),
			then:  []key{{Namespace: "c", Name: "new"}, {Namespace: "a", Name: "quick"}},
			quick: []string{"quick"},
			want:  map[string]int{"a/1": 1, "a/2": 1, "a/3": 1, "a/4": 1, "b/6": 1, "b/7": 1, "c/new": 1, "a/quick": 1},
		},
		"Quick": {
			reason: "One that answers quickly may have all workers but one.",
			first:  many(8, key{Namespace: "a", Name: "quick"}),
			then:   []key{{Namespace: "b", Name: "other"}},
			quick:  []string{"quick"},
			want:   map[string]int{"a/quick": 7, "b/other": 1},
		},
		"Everywhere": {
			reason: "Slow ones leave one worker to those that answer, whoever they are.",
			first:  append(append(append(many(2, key{Namespace: "a", Name: "x"}), many(2, key{Namespace: "b", Name: "y"})...), many(2, key{Namespace: "c", Name: "z"})...), many(2, key{Namespace: "d", Name: "u"})...),
			then:   []key{{Namespace: "e", Name: "quick"}},
			quick:  []string{"quick"},
			want:   map[string]int{"a/x": 2, "b/y": 2, "c/z": 2, "d/u": 1, "e/quick": 1},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				hosts := connection.NewHosts()
				for _, q := range tc.quick {
					answerAtOnce(t, hosts, "http://"+q)
				}
				end := make(chan struct{})
				going := make(chan key, 100)
				r := &throttle{
					Reconciler: reconcile.Func(func(_ context.Context, r reconcile.Request) (reconcile.Result, error) {
						going <- r.NamespacedName
						<-end
						return reconcile.Result{}, nil
					}),
					cached: named{},
					origin: func(_ context.Context, a *modelv1alpha1.Artifact) (string, bool) {
						return "http://" + a.GetName(), true
					},
					hosts:   hosts,
					workers: 8,
				}
				for i, k := range append(tc.first, tc.then...) {
					go func() {
						result, err := r.Reconcile(t.Context(), reconcile.Request{NamespacedName: k})
						if err != nil {
							t.Error(err)
						}
						// Where a registry answers quickly, workers are soon free again.
						least, most := throttleRequeue, throttleRequeueMost
						if slices.Contains(tc.quick, k.Name) {
							least, most = throttleRequeueQuick, throttleRequeueQuickMost
						}
						if wait := result.RequeueAfter; wait != 0 && (wait < least || wait > most) {
							t.Errorf("\n%s\nReconcile(%d): requeued after %s", tc.reason, i, wait)
						}
					}()
					synctest.Wait()
				}
				time.Sleep(time.Second) // Longer than a slot is waited for.
				synctest.Wait()
				close(going)
				got := map[string]int{}
				for k := range going {
					got[k.String()]++
				}
				if diff := cmp.Diff(tc.want, got); diff != "" {
					t.Errorf("\n%s\nReconcile(...): -want going on, +got:\n%s", tc.reason, diff)
				}
				close(end)
				synctest.Wait()
				if !r.slots.TryTake([]connection.Limit{{Pool: "slow registries", Most: 1}}) {
					t.Errorf("\n%s\nA reconcile that has ended should hold no slot.", tc.reason)
				}
			})
		})
	}
}

// answerAtOnce has a host answer at once.
func answerAtOnce(t *testing.T, hosts *connection.Hosts, origin string) {
	t.Helper()
	next := roundTrip(func(*http.Request) (*http.Response, error) { return httptest.NewRecorder().Result(), nil })
	rsp, err := hosts.Transport(origin, "", next).RoundTrip(httptest.NewRequest(http.MethodGet, origin+"/v2/", nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = rsp.Body.Close()
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
