package registry

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

const tokenPath = "/auth/token"

// halfTime returns a reader of content that stands still for a while at half of
// it.
func halfTime(content []byte, d time.Duration) io.Reader {
	half := len(content) / 2
	return io.MultiReader(bytes.NewReader(content[:half]), &pause{d}, bytes.NewReader(content[half:]))
}

// A pause reads as nothing, after a while.
type pause struct{ d time.Duration }

func (p *pause) Read([]byte) (int, error) {
	<-time.After(p.d)
	return 0, io.EOF
}

// TestShortTokens has a push take longer than a token lives, and what follows
// work with it.
func TestShortTokens(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		life   time.Duration
		entry  testregistry.Entry
		asked  string // How tokens are asked for.
	}{
		"Short":    {reason: "The token ends while the blob is on its way.", life: 2 * time.Second, entry: testregistry.EntryFor(ada), asked: http.MethodGet},
		"Identity": {reason: "Also one that was got for an identity token.", life: 2 * time.Second, entry: testregistry.IdentityOf(ada), asked: http.MethodPost},
		"Ten":      {reason: "Tokens of ten seconds are no different.", life: 10 * time.Second, entry: testregistry.EntryFor(ada), asked: http.MethodGet},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}, TokenLife: tc.life})
			o := optionsFor(r)
			o.DockerConfig = testregistry.DockerConfig(map[string]testregistry.Entry{r.Host(): tc.entry})
			c := newClient(t, o)
			content := bytes.Repeat([]byte("weight"), 100_000)
			// A token lives for up to a second longer than it says.
			slow := halfTime(content, tc.life+1100*time.Millisecond)
			if err := c.PushBlob(t.Context(), repository, describe("a/b", content), slow); err != nil {
				t.Fatalf("\n%s\nPushBlob(...): %v", tc.reason, err)
			}
			if got := r.Count(tc.asked, tokenPath); got != 1 {
				t.Errorf("\n%s\nwant one request for a token for a blob, got %d", tc.reason, got)
			}
			start := time.Now()
			s := store(t, c, repository)
			for _, op := range inOrder[:len(inOrder)-2] {
				if err := operations[op](t.Context(), c, s); err != nil {
					t.Errorf("\n%s\n%s: %v", tc.reason, op, err)
				}
			}
			// The first push needs one, the next another, and reading a third,
			// since it asks for less. Where this takes long, they are renewed.
			most := 3 + 2*int(time.Since(start)/(tc.life/2))
			if got, all := r.Count(tc.asked, tokenPath), r.Count("", tokenPath); got < 3 || got > most || all != got {
				t.Errorf("\n%s\nwant 3 to %d requests for tokens by %s, got %d of %d", tc.reason, most, tc.asked, got, all)
			}
		})
	}
}

// TestTokenEndsBetweenRequests has a token that is about to end be at hand when
// a push begins, whose second request goes with the first one's token.
func TestTokenEndsBetweenRequests(t *testing.T) {
	t.Parallel()
	const life = 2 * time.Second
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}, TokenLife: life})
	c := newClient(t, optionsFor(r))
	push := func(content string) error {
		return c.PushBlob(t.Context(), repository, describe("a/b", []byte(content)), io.MultiReader(strings.NewReader(content)))
	}
	if err := push("first"); err != nil {
		t.Fatal(err)
	}
	r.SetFault(testregistry.Times(testregistry.Always, testregistry.On(http.MethodPut, "/blobs/uploads/"), testregistry.Delay(700*time.Millisecond)))
	for i := range 4 {
		// A token's life of two to three seconds ends in one of the delays.
		<-time.After(100 * time.Millisecond)
		if err := push(fmt.Sprint(i)); err != nil {
			t.Errorf("push %d: %v", i, err)
		}
	}
}
