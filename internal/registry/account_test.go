package registry

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"oras.land/oras-go/v2/registry/remote/auth"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

// A changing account is a registry's, as a mounted file has it.
type changing struct{ atomic.Pointer[Credential] }

func (c *changing) set(u testregistry.User) {
	c.Store(&Credential{Username: u.Name, Password: u.Password})
}

func (c *changing) read(context.Context) (Credential, error) { return *c.Load(), nil }

// changingClient returns a client of a registry with an account that may change, for
// which it waits this long.
func changingClient(t *testing.T, r *testregistry.Registry, patience time.Duration) (*Client, *changing) {
	t.Helper()
	own := &changing{}
	own.set(ada)
	o := optionsFor(r)
	o.DockerConfig, o.Credential = nil, own.read
	c := newClient(t, o)
	c.credentials.patience = patience
	return c, own
}

var renewedAda = testregistry.User{Name: ada.Name, Password: "battery staple"}

// TestRenewedCredential has a registry change the password between two operations, and
// the new one come a while later.
func TestRenewedCredential(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		reason string
		life   time.Duration
	}{
		"Basic":  {reason: "A password that is sent with each request should be replaced."},
		"Bearer": {reason: "A password by which tokens are got should be replaced.", life: time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}, TokenLife: tc.life})
			c, own := changingClient(t, r, time.Minute)
			s := store(t, c, repository)
			for _, op := range inOrder[:len(inOrder)-2] {
				if err := operations[op](t.Context(), c, s); err != nil {
					t.Fatalf("\n%s\n%s: %v", tc.reason, op, err)
				}
			}
			if err := r.SetUsers(renewedAda); err != nil {
				t.Fatal(err)
			}
			if tc.life > 0 {
				// A token lives for up to a second longer than it says.
				<-time.After(tc.life + 1100*time.Millisecond)
			}
			changed := time.AfterFunc(700*time.Millisecond, func() { own.set(renewedAda) })
			defer changed.Stop()
			for _, op := range inOrder[:len(inOrder)-2] {
				if err := operations[op](t.Context(), c, s); err != nil {
					t.Errorf("\n%s\n%s: %v", tc.reason, op, err)
				}
			}
		})
	}
}

// TestRenewedInUpload has a registry change the password while a blob is on its way.
func TestRenewedInUpload(t *testing.T) {
	t.Parallel()
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
	c, own := changingClient(t, r, time.Minute)
	store(t, c, repository)
	content := bytes.Repeat([]byte("weight"), 200_000)
	half := int64(len(content) / 2)
	var opened, changed atomic.Int32
	open := func(_ context.Context, offset int64) (io.ReadCloser, error) {
		opened.Add(1)
		rest := bytes.NewReader(content[offset:])
		if offset >= half {
			return io.NopCloser(rest), nil
		}
		return io.NopCloser(io.MultiReader(io.LimitReader(rest, half-offset), readerFunc(func([]byte) (int, error) {
			if changed.Add(1) == 1 {
				if err := r.SetUsers(renewedAda); err != nil {
					return 0, err
				}
				time.AfterFunc(2*time.Second, func() { own.set(renewedAda) })
			}
			return 0, io.EOF
		}), rest)), nil
	}
	d := describe("application/octet-stream", content)
	if err := c.Upload(t.Context(), repository, d, open, quick); err != nil {
		t.Fatalf("Upload(...): %v", err)
	}
	if has, err := c.HasBlob(t.Context(), repository, d); !has || err != nil {
		t.Errorf("HasBlob(...): %t, %v", has, err)
	}
	if n := opened.Load(); n > 2 {
		t.Errorf("want the blob's bytes to be kept, got %d openings of its source", n)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// TestRefusedAtOnce checks that nobody waits for another credential where none is to be
// expected.
func TestRefusedAtOnce(t *testing.T) {
	t.Parallel()
	reader := testregistry.User{Name: "reader", Password: testPassword, Actions: []string{"pull"}}
	r := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada, reader}, TokenLife: time.Minute})
	push := func(c *Client, content string) error {
		return c.PushBlob(t.Context(), repository, describe("a/b", []byte(content)), strings.NewReader(content))
	}
	cases := map[string]struct {
		reason string
		try    func(t *testing.T) error
	}{
		"Never": {
			reason: "A credential that was never accepted may be wrong for good.",
			try: func(t *testing.T) error {
				c, own := changingClient(t, r.Front(t), time.Hour)
				own.set(testregistry.User{Name: ada.Name, Password: "wrong"})
				return push(c, "never")
			},
		},
		"Permission": {
			reason: "An account that may read is not refused where it may not push.",
			try: func(t *testing.T) error {
				c, own := changingClient(t, r.Front(t), time.Hour)
				own.set(reader)
				if _, err := c.Resolve(t.Context(), repository, "none"); !IsNotFound(err) {
					return err
				}
				return push(c, "permission")
			},
		},
		"NoOther": {
			reason: "The time to wait is bounded.",
			try: func(t *testing.T) error {
				basic := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
				c, _ := changingClient(t, basic, time.Second)
				if err := push(c, "first"); err != nil {
					return err
				}
				if err := basic.SetUsers(renewedAda); err != nil {
					return err
				}
				return push(c, "second")
			},
		},
		"Static": {
			reason: "What never changes is not waited for.",
			try: func(t *testing.T) error {
				basic := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{ada}})
				c := newClient(t, optionsFor(basic))
				if err := push(c, "first"); err != nil {
					return err
				}
				if err := basic.SetUsers(renewedAda); err != nil {
					return err
				}
				return push(c, "second")
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			err := tc.try(t)
			checkRefusal(t, tc.reason, err, outcome.Unauthorized, "")
			if took := time.Since(start); took > 30*time.Second {
				t.Errorf("\n%s\nit took %s", tc.reason, took)
			}
		})
	}
}

// TestRegistryTokenIsRead checks that a registry's token is sent as it is now, also where
// an earlier one was accepted.
func TestRegistryTokenIsRead(t *testing.T) {
	own := Credential{RegistryToken: "first"}
	creds, err := newCredentials(Options{Host: "r.example.com", Credential: func(context.Context) (Credential, error) { return own, nil }})
	if err != nil {
		t.Fatal(err)
	}
	cache := newCache(nil, creds)
	if _, err := cache.Set(t.Context(), "r.example.com", auth.SchemeBearer, "k", func(context.Context) (string, error) { return "first", nil }); err != nil {
		t.Fatal(err)
	}
	own = Credential{RegistryToken: "second"}
	got, err := cache.GetToken(t.Context(), "r.example.com", auth.SchemeBearer, "k")
	if diff := cmp.Diff("second", got); diff != "" || err != nil {
		t.Errorf("GetToken(...): %v: -want, +got:\n%s", err, diff)
	}
	if _, ok := creds.token(t.Context(), "other.example.com", auth.SchemeBearer); ok {
		t.Error("want no token for another host")
	}
	if got, err := creds.forHost(t.Context(), "other.example.com"); got != auth.EmptyCredential || err != nil {
		t.Errorf("want no credential for another host, got %v", err)
	}
}

// TestCredentialIn checks what is known about credentials, for messages.
func TestCredentialIn(t *testing.T) {
	entry := testregistry.DockerConfig(map[string]testregistry.Entry{"r.example.com": testregistry.EntryFor(ada)})
	cases := map[string]struct {
		reason string
		config []byte
		host   string
		want   account
		fails  bool
	}{
		"None":   {reason: "Without a config there is no account.", host: "r.example.com", want: anonymous},
		"Entry":  {reason: "An entry for the host is its account.", config: entry, host: "r.example.com", want: known},
		"Other":  {reason: "A config without an entry for the host is of others.", config: entry, host: "s.example.com", want: otherRegistry},
		"Broken": {reason: "What is no config should be an error.", config: []byte("{"), host: "r.example.com", want: otherRegistry, fails: true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, err := CredentialIn(tc.config, tc.host, "")
			if (err != nil) != tc.fails || got.account() != tc.want {
				t.Errorf("\n%s\nCredentialIn(...): got account %d, %v", tc.reason, got.account(), err)
			}
		})
	}
}
