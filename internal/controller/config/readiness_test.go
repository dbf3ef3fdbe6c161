package config

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/test/apiserver"
	testregistry "github.com/crossplane-contrib/provider-kitops/test/fakes/registry"
)

var update = flag.Bool("update", false, "write the golden files")

// A served registry counts its requests.
type served struct {
	host     string
	requests *atomic.Int64
}

// serveRegistry serves an empty registry behind what wrap returns, until the test ends.
func serveRegistry(t *testing.T, wrap func(http.Handler) http.Handler) served {
	t.Helper()
	out := served{requests: &atomic.Int64{}}
	next := testregistry.InMemory(true)
	if wrap != nil {
		next = wrap(next)
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		out.requests.Add(1)
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	out.host = strings.TrimPrefix(s.URL, "http://")
	return out
}

// silent returns the address of a host that takes connections and answers nothing.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

// closed returns an address where nothing listens.
func closed(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	return l.Addr().String()
}

// configFor returns a config of a registry, with a Secret unless its name is empty.
func configFor(namespace, name, host, secret string) *v1alpha1.ProviderConfig {
	pc := config(namespace, name)
	pc.Spec.Registry.Host, pc.Spec.Registry.PlainHTTP = v1alpha1.RegistryHost(host), true
	if secret != "" {
		pc.Spec.Registry.Credentials = v1alpha1.RegistryCredentials{
			Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: secret},
		}
	}
	return pc
}

// dockerSecret returns a Secret with an account for a registry.
func dockerSecret(namespace, name, host string, u testregistry.User) *corev1.Secret {
	return &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name},
		Type:       corev1.SecretTypeDockerConfigJson,
		Data: map[string][]byte{corev1.DockerConfigJsonKey: testregistry.DockerConfig(map[string]testregistry.Entry{
			host: testregistry.EntryFor(u),
		})},
	}
}

// waitReady waits until a config's Ready condition has a status, a reason and a text.
func waitReady(t *testing.T, c client.Client, pc client.Object, status corev1.ConditionStatus, reason, says string) xpv2.Condition {
	t.Helper()
	var got xpv2.Condition
	within(t, patience, fmt.Sprintf("%s is %s: %s", pc.GetName(), status, reason), func(ctx context.Context) (string, error) {
		if err := c.Get(ctx, client.ObjectKeyFromObject(pc), pc); err != nil {
			return "", err
		}
		if conditioned, ok := pc.(interface {
			GetCondition(xpv2.ConditionType) xpv2.Condition
		}); ok {
			got = conditioned.GetCondition(xpv2.TypeReady)
		}
		if got.Status != status || string(got.Reason) != reason || !strings.Contains(got.Message, says) {
			return fmt.Sprintf("it is %s: %s: %s", got.Status, got.Reason, got.Message), nil
		}
		return "", nil
	})
	return got
}

// TestReady checks the Ready conditions of configs of good and bad registries. Each is
// in testdata as kubectl describe shows it.
func TestReady(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	startControllers(t, namespace)
	robot := testregistry.User{Name: "robot", Password: "right"}
	secured := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{robot}})
	tls := testregistry.Start(t, testregistry.Options{TLS: true})
	open := serveRegistry(t, nil)
	for _, s := range []*corev1.Secret{
		dockerSecret(namespace, "good", secured.Host(), robot),
		dockerSecret(namespace, "wrong", secured.Host(), testregistry.User{Name: "robot", Password: "wrong"}),
		dockerSecret(namespace, "needless", open.host, robot),
		dockerSecret(namespace, "other", "other.example.com", robot),
		{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "authority"}, Data: map[string][]byte{"ca.crt": tls.CA()}},
		{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "no-authority"}, Data: map[string][]byte{"ca.crt": []byte("none")}},
	} {
		if err := c.Create(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	withTLS := func(pc *v1alpha1.ProviderConfig, secret string) *v1alpha1.ProviderConfig {
		pc.Spec.Registry.PlainHTTP = false
		if secret != "" {
			pc.Spec.Registry.CertSecretRef = &xpv2.LocalSecretReference{Name: secret}
		}
		return pc
	}
	withHub := func(pc *v1alpha1.ProviderConfig, hf v1alpha1.HuggingFaceConfig) *v1alpha1.ProviderConfig {
		pc.Spec.HuggingFace = &hf
		return pc
	}
	cases := map[string]struct {
		reason string
		config *v1alpha1.ProviderConfig
		status corev1.ConditionStatus
		want   string
	}{
		"anonymous": {
			reason: "A registry that needs no account",
			config: configFor(namespace, "anonymous", open.host, ""), status: corev1.ConditionTrue, want: "Available",
		},
		"accepted": {
			reason: "An account that the registry accepts",
			config: configFor(namespace, "accepted", secured.Host(), "good"), status: corev1.ConditionTrue, want: "Available",
		},
		"not-requested": {
			reason: "An account at a registry that asks for none",
			config: configFor(namespace, "not-requested", open.host, "needless"), status: corev1.ConditionTrue, want: "Available",
		},
		"trusted": {
			reason: "A certificate of an authority that the config names",
			config: withTLS(configFor(namespace, "trusted", tls.Host(), ""), "authority"), status: corev1.ConditionTrue, want: "Available",
		},
		"wrong-password": {
			reason: "An account that the registry refuses",
			config: configFor(namespace, "wrong-password", secured.Host(), "wrong"), status: corev1.ConditionFalse, want: "Unauthorized",
		},
		"no-credentials": {
			reason: "No account at a registry that wants one",
			config: configFor(namespace, "no-credentials", secured.Host(), ""), status: corev1.ConditionFalse, want: "Unauthorized",
		},
		"other-registry": {
			reason: "A Secret with an account for another registry only",
			config: configFor(namespace, "other-registry", secured.Host(), "other"), status: corev1.ConditionFalse, want: "Unauthorized",
		},
		"unknown-authority": {
			reason: "A certificate of an unknown authority",
			config: withTLS(configFor(namespace, "unknown-authority", tls.Host(), ""), ""), status: corev1.ConditionFalse, want: "Untrusted",
		},
		"no-certificate": {
			reason: "A Secret for authorities that holds none",
			config: withTLS(configFor(namespace, "no-certificate", tls.Host(), ""), "no-authority"), status: corev1.ConditionFalse, want: "Unsupported",
		},
		"no-tls": {
			reason: "A registry that speaks no TLS",
			config: withTLS(configFor(namespace, "no-tls", open.host, ""), ""), status: corev1.ConditionFalse, want: "Untrusted",
		},
		"silent": {
			reason: "A host that does not answer",
			config: configFor(namespace, "silent", silent(t), ""), status: corev1.ConditionFalse, want: "Unavailable",
		},
		"unreachable": {
			reason: "A host where nothing listens",
			config: configFor(namespace, "unreachable", closed(t), ""), status: corev1.ConditionFalse, want: "Unavailable",
		},
		"no-secret": {
			reason: "A Secret that does not exist",
			config: configFor(namespace, "no-secret", secured.Host(), "missing"), status: corev1.ConditionFalse, want: "ConfigMissing",
		},
		"no-hub-token": {
			reason: "A Hub's token that does not exist",
			config: withHub(configFor(namespace, "no-hub-token", open.host, ""), v1alpha1.HuggingFaceConfig{
				TokenSecretRef: &xpv2.LocalSecretKeySelector{LocalSecretReference: xpv2.LocalSecretReference{Name: "authority"}, Key: "token"},
			}), status: corev1.ConditionFalse, want: "ConfigMissing",
		},
		"no-hub-authority": {
			reason: "A Secret for the Hub's authorities that holds none",
			config: withHub(configFor(namespace, "no-hub-authority", open.host, ""), v1alpha1.HuggingFaceConfig{
				CertSecretRef: &xpv2.LocalSecretReference{Name: "no-authority"},
			}), status: corev1.ConditionFalse, want: "ConfigInvalid",
		},
	}
	for _, tc := range cases {
		if err := c.Create(t.Context(), tc.config); err != nil {
			t.Fatal(err)
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := waitReady(t, c, tc.config, tc.status, tc.want, "")
			if got.ObservedGeneration != tc.config.GetGeneration() {
				t.Errorf("%s: the condition is of generation %d, want %d", tc.reason, got.ObservedGeneration, tc.config.GetGeneration())
			}
			golden(t, name, described(got, tc.config))
		})
	}
}

// described returns a condition as kubectl describe shows it, without what differs from
// one test to the next.
func described(c xpv2.Condition, pc *v1alpha1.ProviderConfig) string {
	text := fmt.Sprintf("Conditions:\n  Message:              %s\n  Observed Generation:  %d\n  Reason:               %s\n  Status:               %s\n  Type:                 %s\n",
		c.Message, c.ObservedGeneration, c.Reason, c.Status, c.Type)
	text = strings.ReplaceAll(text, string(pc.Spec.Registry.Host), "registry.example.com")
	return regexp.MustCompile(`namespace "[^"]*"`).ReplaceAllString(text, `namespace "models"`)
}

// golden compares a text with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".txt")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", file, got, want)
	}
}

// TestBecomesReady checks that a config is Ready soon after its Secret is created, after
// the password in it is corrected, and not Ready soon after it is deleted.
func TestBecomesReady(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	startControllers(t, namespace)
	robot := testregistry.User{Name: "robot", Password: "right"}
	secured := testregistry.Start(t, testregistry.Options{Users: []testregistry.User{robot}})
	cluster := &v1alpha1.ClusterProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: v1alpha1.ClusterProviderConfigSpec{Registry: v1alpha1.ClusterRegistryConfig{
			Host: v1alpha1.RegistryHost(secured.Host()), PlainHTTP: true,
			Credentials: v1alpha1.ClusterRegistryCredentials{
				Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Namespace: namespace, Name: "registry"},
			},
		}},
	}
	configs := []client.Object{configFor(namespace, "config", secured.Host(), "registry"), cluster}
	for _, pc := range configs {
		if err := c.Create(t.Context(), pc); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Delete(context.Background(), pc) })
	}
	for _, pc := range configs {
		waitReady(t, c, pc, corev1.ConditionFalse, "ConfigMissing", `Secret "registry" in namespace`)
	}
	secret := dockerSecret(namespace, "registry", secured.Host(), testregistry.User{Name: "robot", Password: "wrong"})
	if err := c.Create(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for _, pc := range configs {
		waitReady(t, c, pc, corev1.ConditionFalse, "Unauthorized", "refused the credentials")
	}
	secret.Data = dockerSecret(namespace, "registry", secured.Host(), robot).Data
	if err := c.Update(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for _, pc := range configs {
		waitReady(t, c, pc, corev1.ConditionTrue, "Available", "")
	}
	if err := c.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	for _, pc := range configs {
		waitReady(t, c, pc, corev1.ConditionFalse, "ConfigMissing", `Secret "registry" in namespace`)
	}
}

// TestRunNamespace checks that a config is Ready only while the namespace exists in which
// its runs execute, and soon after it was created.
func TestRunNamespace(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	startControllers(t, namespace)
	runs := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace + "-runs"}}
	pc := &v1alpha1.ClusterProviderConfig{
		ObjectMeta: metav1.ObjectMeta{Name: namespace},
		Spec: v1alpha1.ClusterProviderConfigSpec{
			Registry: v1alpha1.ClusterRegistryConfig{
				Host: v1alpha1.RegistryHost(serveRegistry(t, nil).host), PlainHTTP: true,
				Credentials: v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceNone},
			},
			Job: &v1alpha1.ClusterJobConfig{JobConfig: v1alpha1.JobConfig{Namespace: runs.GetName()}},
		},
	}
	if err := c.Create(t.Context(), pc); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Delete(context.Background(), pc) })
	waitReady(t, c, pc, corev1.ConditionFalse, "ConfigMissing", "does not exist: create it")
	if err := c.Create(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c, pc, corev1.ConditionTrue, "Available", "")
	// Nobody plays the namespace controller, so that it stays as it is.
	if err := c.Delete(t.Context(), runs); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c, pc, corev1.ConditionFalse, "ConfigMissing", "is being deleted: create it")
}

// TestSpecChanges checks that a config is checked when its spec changes.
func TestSpecChanges(t *testing.T) {
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	startControllers(t, namespace)
	pc := configFor(namespace, "config", closed(t), "")
	if err := c.Create(t.Context(), pc); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c, pc, corev1.ConditionFalse, "Unavailable", "the connection was refused")
	pc.Spec.Registry.Host = v1alpha1.RegistryHost(serveRegistry(t, nil).host)
	if err := c.Update(t.Context(), pc); err != nil {
		t.Fatal(err)
	}
	if got := waitReady(t, c, pc, corev1.ConditionTrue, "Available", ""); got.ObservedGeneration != 2 {
		t.Errorf("the condition is of generation %d, want 2", got.ObservedGeneration)
	}
}

// TestManyConfigsOfOneHost checks that all configs of one registry and account are one
// question, and that none of them is written again once it is Ready.
func TestManyConfigsOfOneHost(t *testing.T) {
	const many = 1000
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	startControllers(t, namespace)
	open := serveRegistry(t, nil)
	forEach(t, many, func(ctx context.Context, n int) error {
		return c.Create(ctx, configFor(namespace, fmt.Sprintf("config-%d", n), open.host, ""))
	})
	versions := func(ctx context.Context) (map[string]string, error) {
		l := &v1alpha1.ProviderConfigList{}
		if err := c.List(ctx, l, client.InNamespace(namespace)); err != nil {
			return nil, err
		}
		out := map[string]string{}
		for i := range l.Items {
			if l.Items[i].GetCondition(xpv2.TypeReady).Status == corev1.ConditionTrue {
				out[l.Items[i].GetName()] = l.Items[i].GetResourceVersion()
			}
		}
		return out, nil
	}
	var before map[string]string
	within(t, 2*patience, "all configs are Ready", func(ctx context.Context) (string, error) {
		var err error
		if before, err = versions(ctx); len(before) < many {
			return fmt.Sprintf("%d of %d are", len(before), many), err
		}
		return "", err
	})
	if got := open.requests.Load(); got > 3 {
		t.Errorf("the registry got %d requests for %d configs, want one", got, many)
	}

	// What would be written again is written soon.
	ctx, cancel := context.WithTimeout(t.Context(), 3*recountInterval)
	defer cancel()
	<-ctx.Done()
	after, err := versions(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for name, version := range before {
		if after[name] != version {
			t.Errorf("%s was written again though nothing has changed", name)
		}
	}
}

// TestSilentRegistryDelaysNoOther checks that configs of hosts that do not answer keep
// no other config from being checked, nor from being deleted.
func TestSilentRegistryDelaysNoOther(t *testing.T) {
	const many = 100
	c := apiserver.Client(t)
	namespace := apiserver.Namespace(t, c)
	other := silent(t)
	startControllers(t, namespace)
	forEach(t, many, func(ctx context.Context, n int) error {
		// The port is the same host's, but each account is a question of its own.
		name := fmt.Sprintf("silent-%d", n)
		if err := c.Create(ctx, dockerSecret(namespace, name, other, testregistry.User{Name: name, Password: "p"})); err != nil {
			return err
		}
		return c.Create(ctx, configFor(namespace, name, other, name))
	})
	began := time.Now()
	good := configFor(namespace, "good", serveRegistry(t, nil).host, "")
	if err := c.Create(t.Context(), good); err != nil {
		t.Fatal(err)
	}
	waitReady(t, c, good, corev1.ConditionTrue, "Available", "")
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("a config of a good registry was Ready after %s, want it not to wait for others", took)
	}
	unused := configFor(namespace, "silent-50", other, "")
	if err := c.Delete(t.Context(), unused); err != nil {
		t.Fatal(err)
	}
	within(t, atOnce, "a config of a silent registry is deleted", gone(c, unused))
}
