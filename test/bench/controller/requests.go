package main

import (
	"context"
	"mime"
	"net/http"
	"strings"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/apimachinery/pkg/types"
)

// A request to the API server that writes, in the words of the server's
// metrics.
type request struct {
	// verb is POST, PUT, PATCH, APPLY or DELETE.
	verb string

	// resource with its subresource.
	resource string

	// refused says that the server did not do it, as where an object had
	// changed meanwhile.
	refused bool
}

// requests counts requests.
type requests map[request]int

// less returns what these are more than others.
func (r requests) less(others requests) requests {
	out := requests{}
	for k, n := range r {
		if d := n - others[k]; d > 0 {
			out[k] = d
		}
	}
	return out
}

// total number of requests.
func (r requests) total() int {
	n := 0
	for _, v := range r {
		n += v
	}
	return n
}

// isWrite reports whether a verb of the API server's metrics writes.
func isWrite(verb string) bool {
	switch verb {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, "APPLY", "DELETECOLLECTION":
		return true
	}
	return false
}

// scrape reads the metrics at an address.
func scrape(ctx context.Context, c *http.Client, address string) (map[string]*dto.MetricFamily, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, errors.Wrap(err, "cannot ask for metrics")
	}
	res, err := c.Do(req)
	if err != nil {
		return nil, errors.Wrap(err, "cannot ask for metrics")
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, errors.Errorf("cannot read metrics at %s: %s", address, res.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(res.Body)
	return families, errors.Wrap(err, "cannot read metrics")
}

// writesOf returns the writes that the API server has counted, of all clients, but
// for dry runs. Its own leases are left out: the provider runs without leader
// election.
func writesOf(families map[string]*dto.MetricFamily) requests {
	out := requests{}
	for _, m := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if !isWrite(labels["verb"]) || labels["dry_run"] != "" || labels["resource"] == "leases" {
			continue
		}
		k := request{verb: labels["verb"], resource: labels["resource"], refused: labels["code"] >= "400"}
		if s := labels["subresource"]; s != "" {
			k.resource += "/" + s
		}
		out[k] += int(m.GetCounter().GetValue())
	}
	return out
}

// An ownRequests counts the writes that the benchmark itself asks for.
type ownRequests struct {
	http.RoundTripper

	mu     sync.Mutex
	counts requests
}

// RoundTrip counts the request and passes it on.
func (o *ownRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	if isWrite(r.Method) {
		k := requestOf(r)
		o.mu.Lock()
		o.counts[k]++
		o.mu.Unlock()
	}
	return o.RoundTripper.RoundTrip(r)
}

// snapshot of the counts.
func (o *ownRequests) snapshot() requests {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.counts.less(nil)
}

// requestOf names a request as the API server's metrics do.
func requestOf(r *http.Request) request {
	verb := r.Method
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err == nil &&
		(t == string(types.ApplyYAMLPatchType) || t == string(types.ApplyCBORPatchType)) {
		verb = "APPLY"
	}
	// /api/v1/… or /apis/<group>/<version>/…
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	skip := 2
	if parts[0] == "apis" {
		skip = 3
	}
	parts = parts[min(skip, len(parts)):]
	if len(parts) > 2 && parts[0] == "namespaces" {
		parts = parts[2:]
	}
	switch len(parts) {
	case 0:
		return request{verb: verb}
	case 1, 2:
		return request{verb: verb, resource: parts[0]}
	}
	return request{verb: verb, resource: parts[0] + "/" + parts[2]}
}
