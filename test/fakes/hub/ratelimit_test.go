package hub

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestRateLimit(t *testing.T) {
	type answer struct {
		Status    int
		RateLimit string
	}
	synctest.Test(t, func(t *testing.T) {
		h := RateLimit(On("/resolve/"), 2, 10*time.Second)(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		get := func(path string) answer {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
			return answer{w.Code, w.Header().Get("RateLimit")}
		}
		const file = "/org/model/resolve/main/config.json"
		var got []answer
		got = append(got, get(file), get("/api/models/org/model"), get(file))
		time.Sleep(2500 * time.Millisecond)
		got = append(got, get(file), get(file))
		// Two windows pass, and a part of the next.
		time.Sleep(20 * time.Second)
		got = append(got, get(file), get(file), get(file))
		want := []answer{
			{200, `"resolvers";r=1;t=10`}, {200, ""}, {200, `"resolvers";r=0;t=10`},
			{429, `"resolvers";r=0;t=8`}, {429, `"resolvers";r=0;t=8`},
			{200, `"resolvers";r=1;t=8`}, {200, `"resolvers";r=0;t=8`}, {429, `"resolvers";r=0;t=8`},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("Each window should have so many requests, and say what is left of it: -want, +got:\n%s", diff)
		}
	})
}
