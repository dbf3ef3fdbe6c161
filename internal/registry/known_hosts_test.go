package registry

import (
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLayerLimit(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   string
		want   int64 // Zero for none.
	}{
		"GitHub":       {reason: "GitHub's says 10 GB.", args: "ghcr.io", want: 10 << 30},
		"Port":         {reason: "A port that goes without saying does not matter.", args: "ghcr.io:443", want: 10 << 30},
		"Case":         {reason: "Nor does the case of a host's letters.", args: "GHCR.io", want: 10 << 30},
		"ECR":          {reason: "Amazon's says 52,000 MiB.", args: "123456789012.dkr.ecr.eu-central-1.amazonaws.com", want: 54_525_952_000},
		"ECRChina":     {reason: "Also in China.", args: "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn", want: 54_525_952_000},
		"ECRGov":       {reason: "Also for the government, with FIPS.", args: "123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com", want: 54_525_952_000},
		"ECRDual":      {reason: "Also over IPv6.", args: "123456789012.dkr-ecr.us-east-1.on.aws", want: 54_525_952_000},
		"ECRSecret":    {reason: "Also in secret.", args: "123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov", want: 54_525_952_000},
		"ECRPublic":    {reason: "The public one says 10,000 MiB.", args: "public.ecr.aws", want: 10_485_760_000},
		"ACR":          {reason: "Azure's says 200 GiB.", args: "models.azurecr.io", want: 214_748_364_800},
		"ACRChina":     {reason: "Also in China.", args: "models.azurecr.cn", want: 214_748_364_800},
		"ACRGov":       {reason: "Also for the government.", args: "models.azurecr.us", want: 214_748_364_800},
		"ACRRegion":    {reason: "Also by region.", args: "models-abc123.westeurope.azurecr.io", want: 214_748_364_800},
		"Own":          {reason: "Who says nothing has no known limit.", args: "registry.example.com"},
		"Local":        {reason: "Nor has one of one's own.", args: "localhost:5000"},
		"DockerHub":    {reason: "Docker Hub says nothing.", args: "docker.io"},
		"Lookalike":    {reason: "A name that only ends alike is another's.", args: "notghcr.io"},
		"LookalikeECR": {reason: "Or begins alike.", args: "123456789012.dkr.ecr.us-east-1.amazonaws.com.example.com"},
		"Bare":         {reason: "Azure's domain itself is no registry.", args: "azurecr.io"},
		"OtherPort":    {reason: "Another port is something else, such as a cache.", args: "ghcr.io:5000"},
		"None":         {reason: "No host has none."},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got, source, ok := LayerLimit(tc.args)
			if diff := cmp.Diff(tc.want, got); diff != "" || ok != (tc.want > 0) {
				t.Errorf("\n%s\nLayerLimit(%q): %t: -want, +got:\n%s", tc.reason, tc.args, ok, diff)
			}
			if u, err := url.Parse(source); ok && (err != nil || u.Scheme != "https" || u.Host == "") {
				t.Errorf("\n%s\nLayerLimit(%q): want an address for its source, got %q", tc.reason, tc.args, source)
			}
		})
	}
}
