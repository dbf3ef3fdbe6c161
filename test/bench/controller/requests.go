package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
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

// A request to the API server, in the words of the server's metrics.
type request struct {
	// verb is GET, LIST, WATCH, POST, PUT, PATCH, APPLY or DELETE.
	verb string

	// resource with its subresource.
	resource string

	// refused says that the server did not do it, as where an object had
	// changed meanwhile.
	refused bool

	// dryRun says that nothing was stored.
	dryRun bool
}

// String names the request.
func (k request) String() string {
	out := k.verb + " " + k.resource
	if k.dryRun {
		out += " (dry run)"
	}
	if k.refused {
		out += " (refused)"
	}
	return out
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

// of returns the requests that a condition holds of.
func (r requests) of(holds func(request) bool) requests {
	out := requests{}
	for k, n := range r {
		if holds(k) {
			out[k] = n
		}
	}
	return out
}

// writes returns the requests that write.
func (r requests) writes() requests {
	return r.of(func(k request) bool { return isWrite(k.verb) })
}

// reads returns the requests that read objects, but for watches.
func (r requests) reads() requests {
	return r.of(func(k request) bool { return k.verb == http.MethodGet || k.verb == verbList })
}

// watches returns the watches that have ended, each of which its client starts again.
func (r requests) watches() requests {
	return r.of(func(k request) bool { return k.verb == verbWatch })
}

// Verbs of the API server's metrics that are no methods of HTTP.
const (
	verbApply = "APPLY"
	verbList  = "LIST"
	verbWatch = "WATCH"
)

// isWrite reports whether a verb of the API server's metrics writes.
func isWrite(verb string) bool {
	switch verb {
	case http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, verbApply, "DELETECOLLECTION":
		return true
	}
	return false
}

// requestTotal is the metric in which the API server counts requests
// (k8s.io/apiserver/pkg/endpoints/metrics).
const requestTotal = "apiserver_request_total"

// scrape reads the requests that the API server at an address has counted, of all clients.
// Of its metrics, thousands of lines, only those of requests are parsed: it is done once a
// second.
func scrape(ctx context.Context, c *http.Client, address string) (requests, error) {
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
	wanted := &bytes.Buffer{}
	lines := bufio.NewReader(res.Body)
	for err == nil {
		var line []byte
		if line, err = lines.ReadBytes('\n'); bytes.HasPrefix(line, []byte(requestTotal+"{")) || bytes.HasPrefix(line, []byte("# TYPE "+requestTotal+" ")) {
			wanted.Write(line)
		}
	}
	if !errors.Is(err, io.EOF) {
		return nil, errors.Wrap(err, "cannot read metrics")
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(wanted)
	return requestsOf(families), errors.Wrap(err, "cannot read metrics")
}

// requestsOf returns the requests that the API server has counted. Those for leases are left
// out, of which it has its own.
func requestsOf(families map[string]*dto.MetricFamily) requests {
	out := requests{}
	for _, m := range families[requestTotal].GetMetric() {
		labels := map[string]string{}
		for _, l := range m.GetLabel() {
			labels[l.GetName()] = l.GetValue()
		}
		if labels["resource"] == "leases" {
			continue
		}
		k := request{verb: labels["verb"], resource: labels["resource"], refused: labels["code"] >= "400", dryRun: labels["dry_run"] != ""}
		if s := labels["subresource"]; s != "" {
			k.resource += "/" + s
		}
		out[k] += int(m.GetCounter().GetValue())
	}
	return out
}

// An ownRequests counts the requests of the benchmark itself.
type ownRequests struct {
	http.RoundTripper

	mu     sync.Mutex
	counts requests
}

// RoundTrip counts the request and passes it on.
func (o *ownRequests) RoundTrip(r *http.Request) (*http.Response, error) {
	k := requestOf(r)
	rsp, err := o.RoundTripper.RoundTrip(r)
	k.refused = err == nil && rsp.StatusCode >= http.StatusBadRequest
	o.mu.Lock()
	defer o.mu.Unlock()
	o.counts[k]++
	return rsp, err
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
		verb = verbApply
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
	k := request{verb: verb, dryRun: r.URL.Query().Get("dryRun") != ""}
	switch len(parts) {
	case 0:
		return k
	case 1:
		switch {
		case verb == http.MethodDelete:
			k.verb = "DELETECOLLECTION"
		case verb == http.MethodGet && r.URL.Query().Get("watch") != "":
			k.verb = verbWatch
		case verb == http.MethodGet:
			k.verb = verbList
		}
		fallthrough
	case 2:
		k.resource = parts[0]
	default:
		k.resource = parts[0] + "/" + parts[2]
	}
	return k
}
