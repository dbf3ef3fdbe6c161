package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
)

func TestMetricsSecure(t *testing.T) {
	p := newProvider(t)
	everywhere, _ := accesstest.Installed(t, "without-crossplane.yaml")
	p.account.Grant(t, "installed", everywhere)
	stranger, scraper := accesstest.NewAccount(p.kube, p.account.Namespace), accesstest.NewAccount(p.kube, p.account.Namespace)
	stranger.Name, scraper.Name = "stranger", "scraper"
	scraper.Grant(t, "scraper", []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}})
	p.start(nil, "--metrics-secure")
	p.waitLog(artifactsStarted)

	cases := map[string]struct {
		reason string
		token  string
		want   int
	}{
		"Anonymous":  {reason: "Whoever reaches the Pod without a token must not read metrics.", want: http.StatusUnauthorized},
		"NotAllowed": {reason: "An account that may not get /metrics must not read metrics.", token: tokenOf(t, p.kube, stranger), want: http.StatusForbidden},
		"Allowed":    {reason: "An account that may get /metrics must read metrics.", token: tokenOf(t, p.kube, scraper), want: http.StatusOK},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p.eventually("metrics", func() string {
				got, err := scrape(t, p.metrics, tc.token)
				if err != nil {
					return err.Error()
				}
				return cmp.Diff(tc.want, got)
			})
		})
	}
	if rsp, err := http.Get("http://" + p.metrics + "/metrics"); err == nil {
		_ = rsp.Body.Close()
		if rsp.StatusCode == http.StatusOK {
			t.Error("plain HTTP: want metrics by HTTPS only")
		}
	}
}

// tokenOf creates an account's ServiceAccount and returns a token of it.
func tokenOf(t *testing.T, kube client.Client, a *accesstest.Account) string {
	t.Helper()
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: a.Namespace, Name: a.Name}}
	if err := kube.Create(t.Context(), sa); err != nil {
		t.Fatal(err)
	}
	token := &authenticationv1.TokenRequest{}
	if err := kube.SubResource("token").Create(t.Context(), sa, token); err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

// scrape returns the status of a request for metrics.
func scrape(t *testing.T, address, token string) (int, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("https://%s/metrics", address), nil)
	if err != nil {
		return 0, err
	}
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	// The certificate is the provider's own.
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	rsp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		return 0, err
	}
	defer func() { _ = rsp.Body.Close() }()
	_, err = io.Copy(io.Discard, rsp.Body)
	return rsp.StatusCode, err
}
