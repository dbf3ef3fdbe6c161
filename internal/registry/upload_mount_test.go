package registry

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

func TestMount(t *testing.T) {
	t.Parallel()
	type want struct {
		Mounted bool
		Reason  outcome.Reason
		Methods string
	}
	status := func(code int) testregistry.Fault {
		return alwaysOn("POST", testregistry.Status(code, "UNKNOWN", secretWord))
	}
	cases := map[string]struct {
		reason string
		from   string
		fault  testregistry.Fault // Nil for none.
		want   want
	}{
		"Mounted":     {reason: "No byte moves.", from: "models/other", want: want{Mounted: true, Methods: "POST"}},
		"NoBlob":      {reason: "What is not there is no error, and leaves no upload.", from: "models/none", want: want{Methods: "POST,DELETE"}},
		"Denied":      {reason: "Who may not read the other repository has to push.", from: "models/other", fault: status(403), want: want{Methods: "POST"}},
		"Refused":     {reason: "In whatever words.", from: "models/other", fault: status(401), want: want{Methods: "POST"}},
		"NoSuch":      {reason: "Or whose name is none.", from: "models/other", fault: status(404), want: want{Methods: "POST"}},
		"Unsupported": {reason: "Or whose registry cannot.", from: "models/other", fault: status(405), want: want{Methods: "POST"}},
		"Busy":        {reason: "What passes is an error.", from: "models/other", fault: status(429), want: want{Reason: outcome.RateLimited, Methods: "POST,POST,POST,POST,POST"}},
		"Down":        {reason: "As is a registry that is down.", from: "models/other", fault: status(503), want: want{Reason: outcome.Unavailable, Methods: "POST,POST,POST,POST,POST"}},
	}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	s := store(t, newClient(t, optionsFor(r)), "models/other")
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			front, to := r.Front(t), "mount/"+strings.ToLower(name)
			c := newClient(t, optionsFor(front))
			if has, err := c.HasBlob(t.Context(), to, s.blob); has || err != nil {
				t.Fatalf("HasBlob(...): got %t, %v", has, err)
			}
			front.ResetRequests()
			front.SetFault(tc.fault)
			mounted, err := c.Mount(t.Context(), to, tc.from, s.blob)
			got := want{Mounted: mounted, Reason: reasonOf(err), Methods: methods(front)}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("\n%s\nMount(...): -want, +got:\n%s\n%v", tc.reason, diff, err)
			}
			front.SetFault(nil)
			if has, err := c.HasBlob(t.Context(), to, s.blob); has != tc.want.Mounted || err != nil {
				t.Errorf("\n%s\nHasBlob(...): got %t, %v", tc.reason, has, err)
			}
		})
	}
}

// TestMountTokens asks for tokens that may read the one repository and push to
// the other.
func TestMountTokens(t *testing.T) {
	t.Parallel()
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}, TokenLife: time.Minute})
	c := newClient(t, optionsFor(r))
	s := store(t, c, "models/other")
	if mounted, err := c.Mount(t.Context(), repository, "models/other", s.blob); !mounted || err != nil {
		t.Errorf("Mount(...): got %t, %v", mounted, err)
	}
	if err := r.SetUsers(testregistry.User{Name: ada.Name, Password: ada.Password, Actions: []string{"push"}}); err != nil {
		t.Fatal(err)
	}
	c = newClient(t, optionsFor(r))
	if mounted, err := c.Mount(t.Context(), "models/third", "models/other", s.blob); mounted || err != nil {
		t.Errorf("Mount(...): want an account that may not read to be told so, got %t, %v", mounted, err)
	}
}
