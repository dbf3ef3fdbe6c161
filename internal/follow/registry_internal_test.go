package follow

import (
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/connection"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestTagOfRegistry asks a registry for tags, as Artifacts that follow one do.
func TestTagOfRegistry(t *testing.T) {
	s := httptest.NewServer(testregistry.InMemory(true))
	t.Cleanup(s.Close)
	o := registry.Options{Host: strings.TrimPrefix(s.URL, "http://"), PlainHTTP: true}
	c, err := registry.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	want := testregistry.PushForeign(t, c, "models/base", "v1").Digest.String()

	f := New(connection.NewHosts())
	ask := func(repository, account string) *question {
		o := o
		o.Repository, o.DockerConfig = repository, []byte(account)
		return f.questionFor(f.key(Question{Registry: &o, Revision: "v1"}), nil)
	}
	base := ask("models/base", "")
	if head, err := base.ask(t.Context()); err != nil || head.Commit != want {
		t.Errorf("The answer should be the digest of the tag: want %s, got %q, %v", want, head.Commit, err)
	}
	if ask("models/base", "") != base {
		t.Error("Artifacts that follow one tag with one account should share the question")
	}
	other := ask("models/other", "")
	if other == base || other.key.hub != base.key.hub {
		t.Error("Tags of one registry should share what it asks for, and not the answer")
	}
	if _, err := other.ask(t.Context()); !registry.IsNotFound(err) {
		t.Errorf("A tag that is gone should be an error, got %v", err)
	}
	o.Confined = true
	confined := ask("models/base", "")
	if _, err := confined.ask(t.Context()); outcome.ReasonOf(err) != outcome.Untrusted || confined.key.hub == base.key.hub {
		t.Errorf("A registry that nobody but the Artifact's author names should be at a public address, got %v", err)
	}
	f.Anywhere = true
	if head, err := ask("models/base", "").ask(t.Context()); err != nil || head.Commit != want {
		t.Errorf("Tests should ask it anywhere: got %q, %v", head.Commit, err)
	}
	o.Confined = false
	if tenant := ask("models/base", "{}"); tenant == base || tenant.key.hub.budget != base.key.hub.budget {
		t.Error("Another account should have its own answer, within the budget of the host")
	}
}
