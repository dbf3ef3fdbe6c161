package follow

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/crossplane-contrib/provider-kitops/internal/hub"
)

func TestFollowShared(t *testing.T) {
	w := newFollowWorld(t)
	main := w.commit("main")
	each := func() {
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() { w.ask(types.UID(strconv.Itoa(i)), w.question(), main, "") })
		}
		wg.Wait()
	}
	each()
	w.pass(30 * time.Minute)
	each()
	w.asked(1, "One asks for all, also at the same time.")
	w.pass(30 * time.Minute)
	each()
	w.asked(1, "Within the interval all have that answer.")
	w.pass(35 * time.Minute)
	each()
	w.asked(2, "And so on.")
}

func TestFollowDataset(t *testing.T) {
	w := newFollowWorld(t)
	w.write("../datasets/org/model/main/train.csv", "1,2")
	w.ask("model", w.question(atOnce), "", w.commit("main"))
	q := w.question(atOnce, func(q *Question) { q.Kind = hub.Dataset })
	commit, err := w.Moved(t.Context(), "dataset", q, "")
	if err != nil || commit == "" || commit == w.commit("main") {
		t.Errorf("want a dataset to be asked for apart from the model of its name, got %q, %v", commit, err)
	}
	w.asked(2, "The model's answer is no answer for the dataset.")
}

func TestFollowForgets(t *testing.T) {
	w := newFollowWorld(t)
	for i := range 10 {
		q := w.question(func(q *Question) { q.Options.Token = "hf_" + strconv.Itoa(i%5) })
		w.ask(types.UID(strconv.Itoa(i)), q, "", "")
	}
	size := func() string {
		w.Follower.mu.Lock()
		defer w.Follower.mu.Unlock()
		return fmt.Sprint(len(w.followings), len(w.answers), len(w.doors), len(w.budgets))
	}
	if got := size(); got != "10 5 5 1" {
		t.Errorf("want what is the same to be kept once, got %s", got)
	}
	for i := range 9 {
		w.Forget(types.UID(strconv.Itoa(i)))
		w.Forget(types.UID(strconv.Itoa(i)))
	}
	if got := size(); got != "1 1 5 1" {
		t.Errorf("want what is deleted to be forgotten, got %s", got)
	}
	elsewhere := w.question(func(q *Question) { q.Options.Endpoint, q.Revision = "http://127.0.0.1:1", "x" })
	w.pass(23 * time.Hour)
	w.ask("other", elsewhere, "", "")
	if got := size(); got != "2 2 2 2" {
		t.Errorf("want Hubs that nobody asks to be forgotten, got %s", got)
	}
	w.pass(2 * time.Hour)
	w.ask("new", w.question(func(q *Question) { q.Options.Endpoint = "http://127.0.0.1:2" }), "", "")
	if got := size(); got != "2 2 2 2" {
		t.Errorf("want who does not come any more to be forgotten, got %s", got)
	}
	if _, ok := w.Next("9"); ok || w.Trouble("9") != "" {
		t.Error("want nothing to be known of who was forgotten")
	}
}

// A Hub that does not answer holds up a few reconciles only.
func TestFollowAskers(t *testing.T) {
	w := newFollowWorld(t)
	arrived, release := make(chan struct{}, followAskers+1), make(chan struct{})
	silent := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-release
		w.WriteHeader(http.StatusServiceUnavailable)
	})
	var hubs []string
	for range followAskers + 1 {
		s := httptest.NewServer(silent)
		defer s.Close()
		hubs = append(hubs, s.URL)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var wg sync.WaitGroup
	ask := func(i int, at string) {
		q := Question{Options: hub.Options{Endpoint: at}, Model: "org/m" + strconv.Itoa(i), Interval: time.Hour, Now: true}
		_, _ = w.Moved(ctx, types.UID(strconv.Itoa(i)), q, "")
	}
	wg.Go(func() { ask(0, hubs[0]) })
	<-arrived
	ask(100, hubs[0])
	if ctx.Err() != nil {
		t.Fatal("want one question at a time of a Hub")
	}
	for i := 1; i < followAskers; i++ {
		wg.Go(func() { ask(i, hubs[i]) })
		<-arrived
	}
	ask(followAskers, hubs[followAskers])
	if err := ctx.Err(); err != nil {
		t.Error("want one more not to be held up")
	}
	w.expect(types.UID(strconv.Itoa(followAskers)), followBusy*3/2, "Who finds others asking comes back.")
	close(release)
	wg.Wait()
	if w.asking != 0 {
		t.Errorf("want nobody to be asking, got %d", w.asking)
	}
}

func TestFollowRaces(t *testing.T) {
	w := newFollowWorld(t)
	w.random = rand.Float64
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 200 {
				key := types.UID(strconv.Itoa(rand.IntN(20)))
				q := w.question(func(q *Question) {
					q.Revision = []string{"main", "v2", "gone"}[rand.IntN(3)]
					q.Now = rand.IntN(4) == 0
				})
				_, _ = w.Moved(t.Context(), key, q, "")
				w.Next(key)
				_ = w.Trouble(key)
				if rand.IntN(10) == 0 {
					w.Forget(key)
				}
				w.pass(time.Minute)
			}
		})
	}
	wg.Wait()
	for i := range 20 {
		w.Forget(types.UID(strconv.Itoa(i)))
	}
	for _, d := range w.doors {
		if d.users != 0 {
			t.Errorf("want nobody at the door, got %d", d.users)
		}
	}
	if len(w.followings) != 0 || len(w.answers) != 0 || w.asking != 0 {
		t.Errorf("want nothing to be left, got %d, %d, %d", len(w.followings), len(w.answers), w.asking)
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
	before := heap()
	for i := range n {
		q := w.question(func(q *Question) { q.Model = "org/m" + strconv.Itoa(i) })
		w.ask(types.UID(fmt.Sprintf("%036d", i)), q, fmt.Sprintf("%040d", i), "")
	}
	if each := (heap() - before) / n; each > 1500 {
		t.Errorf("want little memory for each Artifact, got %d bytes", each)
	} else {
		t.Logf("%d bytes for each Artifact", each)
	}
	runtime.KeepAlive(w)
}
