package monitoring

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/crossplane-contrib/provider-kitops/test/programs"
)

const (
	// scrapeInterval is short enough that a test sees two scrapes soon.
	scrapeInterval = "500ms"

	// patience is how long a Prometheus may take to start, and to end.
	patience = 30 * time.Second

	// maxAnswer bounds an answer of Prometheus.
	maxAnswer = 16 << 20
)

// Prometheus is a real one that scrapes one address.
type Prometheus struct{ address string }

// Start starts a Prometheus that scrapes an address by HTTPS with a token, until the test
// ends. It evaluates a file of rules, too.
func Start(t testing.TB, address, token string, rules []byte) *Prometheus {
	t.Helper()
	dir := t.TempDir()
	config := fmt.Sprintf(`
global: {scrape_interval: %[1]s, evaluation_interval: %[1]s}
rule_files: [rules.yaml]
scrape_configs:
  - job_name: provider-kitops
    scheme: https
    tls_config: {insecure_skip_verify: true}
    authorization: {credentials_file: token}
    static_configs: [{targets: [%[2]q]}]
`, scrapeInterval, address)
	for name, data := range map[string][]byte{"prometheus.yaml": []byte(config), "rules.yaml": rules, "token": []byte(token)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	p := &Prometheus{address: freeAddress(t)}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(Program(t, "prometheus"), "--config.file="+filepath.Join(dir, "prometheus.yaml"),
		"--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+p.address)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		kill := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		if err := cmd.Wait(); err != nil || t.Failed() {
			data, _ := os.ReadFile(log.Name())
			t.Logf("Prometheus ended: %v\n%s", err, data)
		}
		_ = log.Close()
	})
	err = wait.PollUntilContextTimeout(t.Context(), 100*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		_, err := p.get(ctx, "/-/ready", nil)
		return err == nil, nil
	})
	if err != nil {
		t.Fatal("Prometheus does not get ready")
	}
	return p
}

// Program returns the path of prometheus or promtool, which it builds if nobody has. It
// skips the test with -short.
func Program(t testing.TB, name string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("needs Prometheus, whose build takes minutes, which -short leaves out")
	}
	dir, err := programs.Build(t.Context(), os.Stderr, programs.Prometheus)
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, name)
}

// Values returns the values of an instant query, without those that are no number.
func (p *Prometheus) Values(ctx context.Context, query string) ([]string, error) {
	data, err := p.get(ctx, "/api/v1/query", url.Values{"query": {query}})
	if err != nil {
		return nil, err
	}
	answer := struct {
		Data struct {
			Result []struct {
				Value [2]any `json:"value"`
			} `json:"result"`
		} `json:"data"`
	}{}
	if err := json.Unmarshal(data, &answer); err != nil {
		return nil, errors.Wrap(err, "cannot read an answer")
	}
	var out []string
	for _, r := range answer.Data.Result {
		if v, ok := r.Value[1].(string); ok && v != "NaN" {
			out = append(out, v)
		}
	}
	return out, nil
}

// LabelValues returns all values of a label; of __name__, the names of all series.
func (p *Prometheus) LabelValues(ctx context.Context, label string) ([]string, error) {
	data, err := p.get(ctx, "/api/v1/label/"+label+"/values", nil)
	if err != nil {
		return nil, err
	}
	answer := struct {
		Data []string `json:"data"`
	}{}
	err = json.Unmarshal(data, &answer)
	return answer.Data, errors.Wrap(err, "cannot read an answer")
}

// get returns the answer to a request, or an error with what Prometheus says.
func (p *Prometheus) get(ctx context.Context, path string, query url.Values) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.address+path+"?"+query.Encode(), nil)
	if err != nil {
		return nil, err
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = rsp.Body.Close() }()
	data, err := io.ReadAll(io.LimitReader(rsp.Body, maxAnswer))
	if err == nil && rsp.StatusCode != http.StatusOK {
		err = errors.Errorf("%s: %s", rsp.Status, strings.TrimSpace(string(data)))
	}
	return data, err
}

// freeAddress returns an address on the loopback interface without a listener.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}
