package hub

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// commitOf returns what a Hub says of a revision, and that answer's ETag.
func commitOf(t *testing.T, url, model, revision string) (commit, etag string) {
	t.Helper()
	a := get(t, url+"/api/models/"+model+"/revision/"+revision+"?expand=sha")
	var info map[string]string
	if err := json.Unmarshal([]byte(a.body), &info); err != nil {
		t.Fatalf("cannot read %q: %v", a.body, err)
	}
	if diff := cmp.Diff(map[string]string{"id": model, "sha": info["sha"]}, info); diff != "" {
		t.Errorf("want nothing but the commit: -want, +got:\n%s", diff)
	}
	return info["sha"], a.header.Get("ETag")
}

func TestConditional(t *testing.T) {
	h, s := newHub(t)
	_, etag := commitOf(t, s.URL, "org/open", "main")
	cases := map[string]struct {
		reason      string
		off         bool
		ifNoneMatch string
		want        int
	}{
		"None":   {reason: "Nothing is known yet.", want: 200},
		"Known":  {reason: "The answer is known.", ifNoneMatch: etag, want: 304},
		"Strong": {reason: "Comparing is weak.", ifNoneMatch: etag[2:], want: 304},
		"OneOf":  {reason: "One of several is known.", ifNoneMatch: `"x", ` + etag, want: 304},
		"Other":  {reason: "Another answer is known.", ifNoneMatch: `W/"x"`, want: 200},
		"Off":    {reason: "A mirror may know nothing of this.", off: true, ifNoneMatch: etag, want: 200},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			h.SetETags(!tc.off)
			before := h.NotModified()
			a := get(t, s.URL+"/api/models/org/open/revision/main?expand=sha", "If-None-Match", tc.ifNoneMatch)
			if diff := cmp.Diff(tc.want, a.status); diff != "" {
				t.Errorf("\n%s\nstatus: -want, +got:\n%s", tc.reason, diff)
			}
			if counted := h.NotModified() - before; (counted == 1) != (tc.want == 304) {
				t.Errorf("\n%s\nwant 304 to be counted, got %d", tc.reason, counted)
			}
			if tagged := a.header.Get("ETag") != ""; tagged == tc.off {
				t.Errorf("\n%s\nETag: got %t", tc.reason, tagged)
			}
		})
	}
}

func TestMove(t *testing.T) {
	h, s := newHub(t)
	write(t, h.dir, "models/org/private/v2/config.json", `{"v": 2}`)
	write(t, h.dir, "models/org/open/v2/config.json", `{"v": 2}`)
	old, etag := commitOf(t, s.URL, "org/open", "main")
	wanted, _ := commitOf(t, s.URL, "org/open", "v2")

	if err := Move(h.dir, "org/open", "main", "v2"); err != nil {
		t.Fatal(err)
	}
	got, newTag := commitOf(t, s.URL, "org/open", "main")
	if got != wanted || got == old || newTag == etag {
		t.Errorf("want main at %s with another ETag, got %s, %s", wanted, got, newTag)
	}
	if got, _ := commitOf(t, s.URL, "org/open", old); got != old {
		t.Errorf("want the old commit to stay, got %s", got)
	}
	if err := Move(h.dir, "org/open", "main", "main"); err != nil {
		t.Fatal(err)
	}
	if got, _ := commitOf(t, s.URL, "org/open", "main"); got != old {
		t.Errorf("want main to be back at %s, got %s", old, got)
	}

	if err := Move(h.dir, "org/private", "main", "v2"); err != nil {
		t.Fatal(err)
	}
	if a := get(t, s.URL+"/api/models/org/private/revision/main"); a.status != http.StatusUnauthorized {
		t.Errorf("want the model to stay private, got %d", a.status)
	}
	if err := os.WriteFile(filepath.Join(h.dir, "models/org/gated/hub.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Move(h.dir, "org/gated", "main", "v2"); err == nil {
		t.Error("want settings that cannot be read to stay as they are")
	}
}

func TestSetHeader(t *testing.T) {
	h, s := newHub(t)
	h.SetHeader(http.Header{"Ratelimit": {`"api";r=7;t=55`}})
	for _, path := range []string{"/api/models/org/open/revision/main", "/api/models/org/none/revision/main"} {
		if got := get(t, s.URL+path).header.Get("RateLimit"); got != `"api";r=7;t=55` {
			t.Errorf("want the header with every answer, got %q from %s", got, path)
		}
	}
	h.SetHeader(nil)
	if got := get(t, s.URL+"/api/models/org/open/revision/main").header.Get("RateLimit"); got != "" {
		t.Errorf("want no header any more, got %q", got)
	}
}
