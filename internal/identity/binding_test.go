package identity

import (
	"strings"
	"testing"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

func TestCheckHost(t *testing.T) {
	cases := map[string]struct {
		reason       string
		listed, host string
		want         bool
	}{
		"Same":        {reason: "A host that is listed should be allowed.", listed: "a.example", host: "a.example", want: true},
		"Case":        {reason: "Hosts have no case.", listed: "A.Example", host: "a.example", want: true},
		"DefaultPort": {reason: "The port of TLS may be written.", listed: "a.example:443", host: "a.example", want: true},
		"Lines":       {reason: "One of several lines should do.", listed: "b.example\r\n\n  a.example:8443\t\n", host: "a.example:8443", want: true},
		"Port":        {reason: "Another port is another server.", listed: "a.example", host: "a.example:8443"},
		"Below":       {reason: "A host below is another one.", listed: "a.example", host: "x.a.example"},
		"Pattern":     {reason: "There are no patterns.", listed: "*", host: "a.example"},
		"Empty":       {reason: "An empty list allows nothing.", listed: "", host: "a.example"},
		"NoHost":      {reason: "A URL without a host is not what an empty line stands for.", listed: "\n", host: ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := CheckHost("Secret \"x\"", tc.listed, tc.host)
			if (err == nil) != tc.want || err != nil && (outcome.ReasonOf(err) != outcome.NotAllowed || !strings.HasPrefix(err.Error(), "Secret \"x\" is not for")) {
				t.Errorf("\n%s\nCheckHost(...): want allowed %t, got %v", tc.reason, tc.want, err)
			}
		})
	}
}

func TestOwnEndpoints(t *testing.T) {
	cases := map[string]struct {
		reason        string
		endpoint      string
		google, azure bool
		host          string
	}{
		"None":        {reason: "Without an endpoint it is the cloud's own.", google: true, azure: true},
		"Google":      {reason: "Google has hosts for each bucket.", endpoint: "https://models.storage.GoogleAPIs.com/", google: true, host: "models.storage.googleapis.com"},
		"Region":      {reason: "Google has hosts for each region.", endpoint: "https://storage.europe-west3.rep.googleapis.com", google: true, host: "storage.europe-west3.rep.googleapis.com"},
		"Private":     {reason: "A private name is what somebody's DNS makes of it.", endpoint: "https://storage.x.p.googleapis.com", host: "storage.x.p.googleapis.com"},
		"Service":     {reason: "Another service of Google may run a customer's code.", endpoint: "https://x.endpoints.googleapis.com", host: "x.endpoints.googleapis.com"},
		"Azure":       {reason: "Accounts have hosts in each of Azure's clouds.", endpoint: "https://acct.blob.core.usgovcloudapi.net", azure: true, host: "acct.blob.core.usgovcloudapi.net"},
		"Other":       {reason: "Another account is another owner.", endpoint: "https://evil.blob.core.windows.net", host: "evil.blob.core.windows.net"},
		"Below":       {reason: "A name that begins with a cloud's is another one.", endpoint: "https://acct.blob.core.windows.net.evil.example", host: "acct.blob.core.windows.net.evil.example"},
		"PlainGoogle": {reason: "Without TLS it may be anybody.", endpoint: "http://storage.googleapis.com", host: "storage.googleapis.com:80"},
		"PlainAzure":  {reason: "Without TLS it may be anybody.", endpoint: "http://acct.blob.core.windows.net", host: "acct.blob.core.windows.net:80"},
		"Port":        {reason: "Another port is kept, that of TLS is not.", endpoint: "https://A.example:8443/x", host: "a.example:8443"},
		"User":        {reason: "A user is no host.", endpoint: "https://storage.googleapis.com@evil.example:443", host: "evil.example"},
		"NoURL":       {reason: "What cannot be read has no host.", endpoint: "https://[::1"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := IsGoogle(tc.endpoint); got != tc.google {
				t.Errorf("\n%s\nIsGoogle(...): want %t, got %t", tc.reason, tc.google, got)
			}
			if got := IsAzureBlob(tc.endpoint, "acct"); got != tc.azure {
				t.Errorf("\n%s\nIsAzureBlob(...): want %t, got %t", tc.reason, tc.azure, got)
			}
			if got := HostOf(tc.endpoint); got != tc.host {
				t.Errorf("\n%s\nHostOf(...): want %q, got %q", tc.reason, tc.host, got)
			}
		})
	}
}
