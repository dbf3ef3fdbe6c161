package registry

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/errors"
)

func jwt(claims string) string {
	return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".c2ln"
}

func TestLifeOf(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   time.Duration
	}{
		"Opaque":    {reason: "A token that says nothing lives as long as the specification says.", args: "djE6b3BhcXVl", want: time.Minute},
		"JWT":       {reason: "One that does lives from its issue on, by whatever clock.", args: jwt(`{"iat":1000,"nbf":990,"exp":1300}`), want: 5 * time.Minute},
		"NotBefore": {reason: "Or from when on it is good.", args: jwt(`{"nbf":1000,"exp":1010}`), want: 10 * time.Second},
		"NoStart":   {reason: "An end alone says nothing without a clock that both have.", args: jwt(`{"exp":1300}`), want: time.Minute},
		"Backwards": {reason: "No token ends before it begins.", args: jwt(`{"iat":1300,"exp":1000}`), want: time.Minute},
		"Forever":   {reason: "No token is kept for ever.", args: jwt(`{"iat":1,"exp":1e300}`), want: 24 * time.Hour},
		"NoJSON":    {reason: "What only looks like one is none.", args: jwt(`exp`), want: time.Minute},
		"NoBase64":  {reason: "What only looks like one is none.", args: "a.%.c", want: time.Minute},
		"None":      {reason: "No token says nothing."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			want := tc.want
			if want == 0 {
				want = tokenLife
			}
			if diff := cmp.Diff(want, lifeOf(tc.args)); diff != "" {
				t.Errorf("\n%s\nlifeOf(...): -want, +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestFreshTokens(t *testing.T) {
	cases := map[string]struct {
		reason string
		scheme auth.Scheme
		token  string
		after  time.Duration
		want   bool
	}{
		"Fresh":     {reason: "A token is used again.", scheme: auth.SchemeBearer, token: jwt(`{"iat":1000,"exp":1300}`), after: 4 * time.Minute, want: true},
		"Ending":    {reason: "Not in its last moments.", scheme: auth.SchemeBearer, token: jwt(`{"iat":1000,"exp":1300}`), after: 4*time.Minute + 30*time.Second},
		"Short":     {reason: "One that is short is used for half of its life.", scheme: auth.SchemeBearer, token: jwt(`{"iat":1000,"exp":1010}`), after: 5*time.Second - 1, want: true},
		"ShortHalf": {reason: "And not for the other.", scheme: auth.SchemeBearer, token: jwt(`{"iat":1000,"exp":1010}`), after: 5 * time.Second},
		"Password":  {reason: "A password has no end.", scheme: auth.SchemeBasic, token: "YWRhOnBhc3M=", after: time.Hour, want: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1, 0)
			c := newFreshTokens()
			c.now = func() time.Time { return now }
			if _, err := c.GetToken(t.Context(), "r", tc.scheme, "k"); err == nil {
				t.Fatalf("\n%s\nGetToken(...): want none yet", tc.reason)
			}
			fetched, err := c.Set(t.Context(), "r", tc.scheme, "k", func(context.Context) (string, error) { return tc.token, nil })
			if fetched != tc.token || err != nil {
				t.Fatalf("\n%s\nSet(...): %v", tc.reason, err)
			}
			now = now.Add(tc.after)
			_, err = c.GetToken(t.Context(), "r", tc.scheme, "k")
			if got := err == nil; got != tc.want {
				t.Errorf("\n%s\nGetToken(...): want it: %t, got %v", tc.reason, tc.want, err)
			}
			broken := errors.New("broken")
			if _, err := c.Set(t.Context(), "r", tc.scheme, "k", func(context.Context) (string, error) { return "", broken }); !errors.Is(err, broken) {
				t.Errorf("\n%s\nSet(...): want its error, got %v", tc.reason, err)
			}
		})
	}
}

// TestForget checks that a client's cache, as New makes it, gets tokens anew once
// the registry has refused one.
func TestForget(t *testing.T) {
	c, ok := newCache(nil, &credentials{host: "r"}).(interface {
		auth.Cache
		forget()
	})
	if !ok {
		t.Fatal("want a cache that forgets")
	}
	if _, err := c.Set(t.Context(), "r", auth.SchemeBearer, "k", func(context.Context) (string, error) { return "revoked", nil }); err != nil {
		t.Fatal(err)
	}
	if got, err := c.GetToken(t.Context(), "r", auth.SchemeBearer, "k"); got != "revoked" || err != nil {
		t.Errorf("GetToken(...): want the token, got %q, %v", got, err)
	}
	c.forget()
	if got, err := c.GetToken(t.Context(), "r", auth.SchemeBearer, "k"); err == nil {
		t.Errorf("GetToken(...): want none after forget, got %q", got)
	}
}
