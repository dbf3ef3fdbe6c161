package registry

import (
	"strings"
	"testing"
	"time"

	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// TestDistributionIPv6 has a registry listen on an IPv6 address, which has an account
// under that name, and does all that can be done with it.
func TestDistributionIPv6(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		args   testregistry.Options
	}{
		"Basic":  {reason: "A password should be found by the address in brackets.", args: testregistry.Options{Users: []testregistry.User{ada}}},
		"Bearer": {reason: "A token should be got at the address in brackets.", args: testregistry.Options{Users: []testregistry.User{ada}, TokenLife: time.Minute}},
		"TLS":    {reason: "A certificate should be checked for the address without brackets.", args: testregistry.Options{Users: []testregistry.User{ada}, TLS: true}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tc.args.IPv6 = true
			r := testregistry.Start(t, tc.args)
			if !strings.HasPrefix(r.Host(), "[::1]:") {
				t.Fatalf("the registry is at %s", r.Host())
			}
			c := newClient(t, optionsFor(r))
			s := store(t, c, repository)
			for _, name := range inOrder {
				if err := operations[name](t.Context(), c, s); err != nil {
					t.Errorf("\n%s\n%s: %v", tc.reason, name, err)
				}
			}
		})
	}
}
