package follow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/hub"
	"github.com/crossplane-contrib/provider-kitops/internal/pipeline"
)

func TestFollowShared(t *testing.T) {
	w := newFollowWorld(t)
	main := w.commit("main")
	w.run(func(*testing.T) {
		each := func() {
			var wg sync.WaitGroup
			for i := range 100 {
				wg.Go(func() {
					if got := w.Moved(artifact(types.UID(strconv.Itoa(i))), w.question(), main); got != "" {
						w.t.Errorf("Nothing has moved, got %q", got)
					}
				})
			}
			wg.Wait()
			w.pass(0)
		}
		each()
		w.pass(30 * time.Minute)
		each()
		w.asked(1, "One question should be enough for all, also at the same time.")
		w.pass(30 * time.Minute)
		each()
		w.asked(1, "Within the interval, all should have that answer.")
		w.pass(35 * time.Minute)
		each()
		w.asked(2, "The question should be asked again after the interval.")
		w.news()
	})
}

func TestFollowDataset(t *testing.T) {
	w := newFollowWorld(t)
	w.write("../datasets/org/model/main/train.csv", "1,2")
	main := w.commit("main")
	w.run(func(*testing.T) {
		w.ask("model", w.question(atOnce), "", main)
		commit := w.reconcile("dataset", w.question(atOnce, func(q *Question) { q.Kind = hub.Dataset }), "")
		if commit == "" || commit == main {
			w.t.Errorf("A dataset should be asked for apart from the model of its name, got %q", commit)
		}
		w.asked(2, "The model's answer should be no answer for the dataset.")
	})
}

func TestFollowForgets(t *testing.T) {
	w := newFollowWorld(t)
	w.run(func(*testing.T) {
		for i := range 10 {
			q := w.question(func(q *Question) { q.Options.Token = "hf_" + strconv.Itoa(i%5) })
			w.ask(types.UID(strconv.Itoa(i)), q, "", "")
		}
		size := func(want, reason string) {
			w.t.Helper()
			w.Follower.mu.Lock()
			defer w.Follower.mu.Unlock()
			if got := fmt.Sprint(len(w.followings), len(w.questions), len(w.hubs), len(w.budgets)); got != want {
				w.t.Errorf("%s: want %s Artifacts, questions, Hubs and budgets, got %s", reason, want, got)
			}
		}
		size("10 5 5 1", "What is the same should be kept once")
		for i := range 9 {
			w.Forget(types.UID(strconv.Itoa(i)))
			w.Forget(types.UID(strconv.Itoa(i)))
		}
		size("1 1 1 1", "What is deleted should be forgotten")
		elsewhere := w.question(func(q *Question) { q.Options.Endpoint, q.Revision = "http://127.0.0.1:1", "x" })
		w.pass(23 * time.Hour)
		w.ask("other", elsewhere, "", "")
		size("2 2 2 2", "Another Hub should have a budget of its own")
		w.pass(2 * time.Hour)
		w.ask("new", w.question(func(q *Question) { q.Options.Endpoint = "http://127.0.0.1:2" }), "", "")
		size("2 2 2 2", "An Artifact that is not reconciled any more should be forgotten")
		if _, ok := w.Next("9"); ok || w.Trouble("9") != nil {
			w.t.Error("Nothing should be known of an Artifact that was forgotten.")
		}
		w.Forget("other")
		w.Forget("new")
		size("0 0 0 0", "Nothing should be left")
	})
}

// in returns an Artifact in a namespace.
func in(namespace string, i int) client.Object {
	name := fmt.Sprintf("%s-%d", namespace, i)
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: types.UID(name), Namespace: namespace, Name: name}}
}

// TestFollowSilentHubs has two namespaces follow many Hubs that accept connections and
// never answer: they must keep no others waiting.
func TestFollowSilentHubs(t *testing.T) {
	const each, limit = 2 * workers, 2 * time.Second
	silent, asked := silentHubs(t, 2*each)
	w := newFollowWorld(t)
	w.Follower = New(connection.NewHosts())
	start(t, w.Follower)

	quick := w.question(atOnce)
	w.eventually("the quick Hub", func() bool { return w.Moved(in("quick", 0), quick, "") != "" })
	for i, url := range silent {
		q := w.question(atOnce, func(q *Question) { q.Options.Endpoint = url })
		if got := w.Moved(in([]string{"a", "b"}[i/each], i), q, ""); got != "" {
			t.Fatalf("A silent Hub cannot have answered, got %q", got)
		}
	}
	w.eventually("silent Hubs to be asked", func() bool { return asked() >= workers/2 })

	began := time.Now()
	quick.Model = "org/other"
	w.eventually("the quick Hub", func() bool { return w.Moved(in("quick", 1), quick, "") != "" })
	if took := time.Since(began); took > limit {
		t.Errorf("A quick Hub should answer while others are silent, took %s", took)
	}
	began = time.Now()
	fresh := w.question(atOnce, func(q *Question) { q.Options.Endpoint = w.serve(w.hub) })
	w.eventually("the fresh Hub", func() bool { return w.Moved(in("fresh", 0), fresh, "") != "" })
	if took := time.Since(began); took > limit {
		t.Errorf("A Hub that was not asked yet should answer a third namespace while others are silent, took %s", took)
	}
	if got := asked(); got >= workers {
		t.Errorf("Silent Hubs should not take all workers, got %d questions", got)
	}
}

// silentHubs returns the URLs of n Hubs, and how many of them were asked.
func silentHubs(t *testing.T, n int) ([]string, func() int) {
	t.Helper()
	var mu sync.Mutex
	asked := 0
	var urls []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		urls = append(urls, "http://"+l.Addr().String())
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				t.Cleanup(func() { _ = conn.Close() })
				mu.Lock()
				asked++
				mu.Unlock()
			}
		}()
	}
	return urls, func() int { mu.Lock(); defer mu.Unlock(); return asked }
}

// start runs a Follower until the end of the test.
func start(t *testing.T, f *Follower) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.Start(ctx) })
	wg.Go(func() {
		for {
			select {
			case <-f.Events():
			case <-ctx.Done():
				return
			}
		}
	})
	t.Cleanup(func() { stop(); wg.Wait() })
}

// eventually waits for what takes real time.
func (w *followWorld) eventually(what string, check func() bool) {
	w.t.Helper()
	for began := time.Now(); !check(); time.Sleep(10 * time.Millisecond) {
		if time.Since(began) > 30*time.Second {
			w.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// TestFollowOneAtATime has a Hub be asked by many with different tokens.
func TestFollowOneAtATime(t *testing.T) {
	w := newFollowWorld(t)
	var mu sync.Mutex
	now, most, total := 0, 0, 0
	url := w.serve(http.HandlerFunc(func(rsp http.ResponseWriter, _ *http.Request) {
		mu.Lock()
		now++
		total++
		most = max(most, now)
		mu.Unlock()
		time.Sleep(5 * time.Millisecond)
		mu.Lock()
		now--
		mu.Unlock()
		_, _ = rsp.Write([]byte(`{"sha": "` + strings.Repeat("a", 40) + `"}`))
	}))
	w.run(func(*testing.T) {
		for i := range budgetBurst {
			w.Moved(artifact(types.UID(strconv.Itoa(i))), w.question(atOnce, func(q *Question) { q.Options.Endpoint, q.Options.Token = url, strconv.Itoa(i) }), "")
		}
		w.pass(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		if total != budgetBurst || most != 1 {
			w.t.Errorf("A Hub should be asked one question at a time: got %d questions, %d at a time", total, most)
		}
	})
}

func TestFollowRaces(t *testing.T) {
	w := newFollowWorld(t)
	w.Follower = New(connection.NewHosts())
	var mu sync.Mutex
	clock := time.Now()
	pass := func(d time.Duration) time.Time {
		mu.Lock()
		defer mu.Unlock()
		clock = clock.Add(d)
		return clock
	}
	w.now = func() time.Time { return pass(0) }
	start(t, w.Follower)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				key := types.UID(strconv.Itoa(rand.IntN(20)))
				q := w.question(func(q *Question) {
					q.Revision = []string{"main", "v2", "gone"}[rand.IntN(3)]
					q.Now = rand.IntN(4) == 0
				})
				if rand.IntN(4) == 0 {
					q.Bucket = &pipeline.Source{S3: &pipeline.S3Source{Bucket: "models", Endpoint: w.url}}
				}
				_ = w.Moved(artifact(key), q, "")
				_, _ = w.Next(key)
				_, _ = w.Known(key, q.Interval, "")
				_ = w.Trouble(key)
				if rand.IntN(10) == 0 {
					w.Forget(key)
				}
				pass(time.Minute)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		w.Forget(types.UID(strconv.Itoa(i)))
	}
	w.Follower.mu.Lock()
	defer w.Follower.mu.Unlock()
	if n := len(w.followings) + len(w.questions) + len(w.hubs) + len(w.budgets); n != 0 {
		t.Errorf("Nothing should be left, got %d", n)
	}
}

func TestFollowMemory(t *testing.T) {
	const n = 10_000
	heap := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	w := newFollowWorld(t)
	w.Follower = New(connection.NewHosts())
	before := heap()
	for i := range n {
		q := w.question(func(q *Question) { q.Model = model(i); q.Options.CA = make([]byte, 4096) })
		w.Moved(artifact(types.UID(fmt.Sprintf("%036d", i))), q, fmt.Sprintf("%040d", i))
	}
	if each := (heap() - before) / n; each > 1500 {
		t.Errorf("An Artifact should take little memory, got %d bytes", each)
	} else {
		t.Logf("%d bytes for each Artifact", each)
	}
	runtime.KeepAlive(w)
}
