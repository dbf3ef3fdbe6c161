package e2e

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/controller-runtime/pkg/client"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/access/accesstest"
	"github.com/crossplane-contrib/provider-kitops/internal/identity"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/platform"
)

// plantedModel is gated: only those with a token that is planted may read it.
const plantedModel = "test/planted"

// A leakCase is an Artifact whose Secrets hold what must not be seen elsewhere.
type leakCase struct {
	token    string
	config   string // A docker config.json.
	pipeline modelv1alpha1.PipelineType
	model    string

	// namespaced has the Secrets beside the Artifact, named by a
	// ProviderConfig, else in the provider's namespace, named by a
	// ClusterProviderConfig.
	namespaced bool

	// want is the reason of Ready; empty where the run cannot even begin.
	want string
}

// TestNothingLeaks plants tokens and passwords in each kind of Secret that the
// provider or a run reads, has runs succeed and fail with them, and looks for
// them in all that others than the Secrets' readers can read: every object of
// the cluster but Secrets, the logs of all Pods with the provider's at debug
// level, and its metrics. It runs alone, since it restarts the provider and reads
// all that is in the cluster.
func TestNothingLeaks(t *testing.T) {
	n := newTenant(t)
	logAtDebug(t)
	password, err := local.Cluster.RegistryPassword()
	if err != nil {
		t.Fatal(err)
	}
	planted := map[string]string{
		"token":          "hf_" + rand.Text(),
		"refused token":  "hf_" + rand.Text(),
		"invalid token":  "no+token/" + rand.Text(),
		"password":       password,
		"wrong password": `wrong "%p\a+s/s= ` + rand.Text(),
		"broken auth":    "broken" + rand.Text(),
		"no JSON":        "nojson" + rand.Text(),
	}
	plantModel(t, planted["token"])

	host := local.Cluster.AuthRegistryHost()
	right := dockerConfigOf(t, host, map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(local.Cluster.RegistryUser() + ":" + password))})
	wrong := dockerConfigOf(t, host, map[string]string{"username": local.Cluster.RegistryUser(), "password": planted["wrong password"]})
	stream, kit := modelv1alpha1.PipelineStream, modelv1alpha1.PipelineKit
	cases := map[string]leakCase{
		"stream":               {token: planted["token"], config: right, pipeline: stream, want: "Available"},
		"stream-of-namespace":  {token: planted["token"], config: right, pipeline: stream, want: "Available", namespaced: true},
		"kit":                  {token: planted["token"], config: right, pipeline: kit, want: "Available"},
		"stream-wrong":         {token: planted["token"], config: wrong, pipeline: stream, want: "Unauthorized"},
		"kit-wrong":            {token: planted["token"], config: wrong, pipeline: kit, want: "Unauthorized"},
		"stream-gated":         {token: planted["refused token"], config: right, pipeline: stream, want: "Gated"},
		"kit-gated":            {token: planted["refused token"], config: right, pipeline: kit, want: "Gated"},
		"stream-invalid":       {token: planted["invalid token"], config: right, pipeline: stream, want: "Unauthorized"},
		"kit-invalid":          {token: planted["invalid token"], config: right, pipeline: kit, want: "Unauthorized"},
		"stream-unknown":       {token: planted["token"], config: right, pipeline: stream, want: "NotFound", model: "test/nowhere"},
		"kit-unknown":          {token: planted["token"], config: right, pipeline: kit, want: "NotFound", model: "test/nowhere"},
		"broken-auth":          {token: planted["token"], config: `{"auths":{"` + host + `":"` + planted["broken auth"] + `"}}`, pipeline: stream},
		"no-json":              {token: planted["token"], config: planted["no JSON"], pipeline: stream},
		"no-json-of-namespace": {token: planted["token"], config: planted["no JSON"], pipeline: stream, namespaced: true},
	}
	artifacts := map[string]*modelv1alpha1.Artifact{}
	for name, tc := range cases {
		artifacts[name] = n.plant(name, host, tc)
	}
	for name, tc := range cases {
		n.waitEnd(artifacts[name], tc.want)
	}

	hay := collect(t)
	checkControls(t, hay, n.namespace)
	for what, secret := range planted {
		for _, form := range formsOf(secret) {
			for where, text := range hay {
				if at := strings.Index(text, form); at >= 0 {
					t.Errorf("the %s is in %s: …%s…", what, where, text[max(0, at-200):at])
				}
			}
		}
	}
}

// plantModel puts a gated model on the Hub that lets the token in.
func plantModel(t *testing.T, token string) {
	t.Helper()
	settings, err := json.Marshal(map[string]any{"gated": "manual", "tokens": []string{token}})
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"config.json": "{}", "model.onnx": "weights", "README.md": "# Planted\n"}
	if err := models.Write(local.Cluster.HubDir(), plantedModel, "main", files); err != nil {
		t.Fatal(err)
	}
	organisation, name, _ := strings.Cut(plantedModel, "/")
	if err := models.Write(local.Cluster.HubDir(), organisation, name, map[string]string{"hub.json": string(settings)}); err != nil {
		t.Fatal(err)
	}
}

// dockerConfigOf returns a config.json with one entry.
func dockerConfigOf(t *testing.T, host string, entry map[string]string) string {
	t.Helper()
	b, err := json.Marshal(map[string]any{"auths": map[string]any{host: entry}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// plant creates an Artifact with the Secrets and the configuration of a case.
func (n *tenant) plant(name, host string, tc leakCase) *modelv1alpha1.Artifact {
	n.t.Helper()
	unique := n.namespace + "-" + name
	where := platform.ProviderNamespace
	if tc.namespaced {
		where = n.namespace
	}
	// Opaque, as the API server checks no content then.
	n.create(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: where, Name: unique},
		StringData: map[string]string{corev1.DockerConfigJsonKey: tc.config, "token": tc.token, identity.KeyHost: identity.HostOf(local.Cluster.HubURL())},
	})
	a := n.artifact(name, tc.pipeline, modelv1alpha1.PackFormatModelPack)
	a.Spec.ForProvider.Source.HuggingFace.Model = plantedModel
	if tc.model != "" {
		a.Spec.ForProvider.Source.HuggingFace.Model = tc.model
	}
	if tc.namespaced {
		n.create(&v1alpha1.ProviderConfig{
			ObjectMeta: metav1.ObjectMeta{Namespace: n.namespace, Name: unique},
			Spec: v1alpha1.ProviderConfigSpec{
				Registry: v1alpha1.RegistryConfig{
					Host: v1alpha1.RegistryHost(host), PlainHTTP: true,
					Credentials: v1alpha1.RegistryCredentials{
						Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.LocalSecretReference{Name: unique},
					},
				},
				HuggingFace: &v1alpha1.HuggingFaceConfig{Endpoint: v1alpha1.HubEndpoint(local.Cluster.HubURL())},
			},
		})
		a.Spec.ForProvider.Source.HuggingFace.TokenSecretRef = &modelv1alpha1.SecretKeySelector{Name: unique, Key: "token"}
		a.Spec.ProviderConfigReference = &xpv2.ProviderConfigReference{Kind: "ProviderConfig", Name: unique}
	} else {
		ref := xpv2.SecretReference{Namespace: where, Name: unique}
		config := local.Config.DeepCopy()
		config.Registry.Host = v1alpha1.RegistryHost(host)
		config.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{Source: xpv2.CredentialsSourceSecret, SecretRef: &ref}
		config.HuggingFace.TokenSecretRef = &xpv2.SecretKeySelector{SecretReference: ref, Key: "token"}
		n.create(&v1alpha1.ClusterProviderConfig{ObjectMeta: metav1.ObjectMeta{Name: unique}, Spec: *config})
		a.Spec.ProviderConfigReference.Name = unique
	}
	n.create(a)
	return a
}

// waitEnd waits until the Artifact's Ready has a reason, or, where no run can
// begin, until it says so by whichever condition.
func (n *tenant) waitEnd(a *modelv1alpha1.Artifact, reason string) {
	n.t.Helper()
	switch reason {
	case "Available":
		n.waitReady(a, corev1.ConditionTrue, reason)
	case "":
		n.eventually("a failure of "+a.GetName(), func() string {
			if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(a), a); err != nil {
				return err.Error()
			}
			for _, c := range a.Status.Conditions {
				if c.Status == corev1.ConditionFalse && c.Message != "" {
					return ""
				}
			}
			return "no condition tells of one"
		})
	default:
		n.waitReady(a, corev1.ConditionFalse, reason)
	}
	for _, c := range a.Status.Conditions {
		n.t.Logf("%s: %s=%s %s %s", a.GetName(), c.Type, c.Status, c.Reason, c.Message)
	}
}

// formsOf returns how a secret may look: as it is, escaped as in a JSON text, a
// Go string or a URL, and in base64, also with the user's name before it.
func formsOf(secret string) []string {
	quoted, _ := json.Marshal(secret) // A string can always be encoded.
	forms := []string{secret, strings.Trim(string(quoted), `"`), url.QueryEscape(secret), url.PathEscape(secret)}
	for _, s := range []string{secret, local.Cluster.RegistryUser() + ":" + secret} {
		for _, e := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
			forms = append(forms, e.EncodeToString([]byte(s)))
		}
	}
	return forms
}

// collect returns, by where it is, all text of the cluster that must hold no
// secret.
func collect(t *testing.T) map[string]string {
	t.Helper()
	clientset, err := kubernetes.NewForConfig(local.REST)
	if err != nil {
		t.Fatal(err)
	}
	hay := map[string]string{}
	for _, gvk := range listable(t, clientset.Discovery()) {
		list := &unstructured.UnstructuredList{}
		list.SetGroupVersionKind(gvk)
		if err := local.Client.List(t.Context(), list); err != nil {
			t.Fatalf("%s: %v", gvk, err)
		}
		for i := range list.Items {
			b, err := list.Items[i].MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			hay[gvk.Kind+" "+list.Items[i].GetNamespace()+"/"+list.Items[i].GetName()] = string(b)
		}
	}
	pods := &corev1.PodList{}
	if err := local.Client.List(t.Context(), pods); err != nil {
		t.Fatal(err)
	}
	for _, p := range pods.Items {
		for _, c := range append(p.Spec.InitContainers, p.Spec.Containers...) {
			logs, err := clientset.CoreV1().Pods(p.GetNamespace()).GetLogs(p.GetName(), &corev1.PodLogOptions{Container: c.Name}).DoRaw(t.Context())
			if err != nil {
				t.Fatalf("logs of %s/%s: %v", p.GetNamespace(), p.GetName(), err)
			}
			hay["logs of "+p.GetNamespace()+"/"+p.GetName()+" "+c.Name] = string(logs)
		}
		if p.GetNamespace() == platform.ProviderNamespace {
			hay["metrics of "+p.GetName()] = metrics(t, p.Status.PodIP)
		}
	}
	return hay
}

// metrics returns what the provider's Pod at an address tells an account that
// may get its metrics.
func metrics(t *testing.T, address string) string {
	t.Helper()
	scraper := accesstest.NewAccount(local.Client, platform.ProviderNamespace)
	scraper.Name = "scraper"
	scraper.Grant(t, "scraper", []rbacv1.PolicyRule{{NonResourceURLs: []string{"/metrics"}, Verbs: []string{"get"}}})
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: scraper.Namespace, Name: scraper.Name}}
	token := &authenticationv1.TokenRequest{}
	if err := local.Client.Create(t.Context(), account); err != nil {
		t.Fatal(err)
	}
	if err := local.Client.SubResource("token").Create(t.Context(), account, token); err != nil {
		t.Fatal(err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+net.JoinHostPort(address, "8080")+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token.Status.Token)
	// The certificate is the provider's own.
	transport := &http.Transport{DialContext: local.Cluster.DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}
	rsp, err := transport.RoundTrip(r)
	if err != nil {
		t.Fatalf("metrics of %s: %v", address, err)
	}
	defer func() { _ = rsp.Body.Close() }()
	body, err := io.ReadAll(rsp.Body)
	if err != nil || rsp.StatusCode != http.StatusOK {
		t.Fatalf("metrics of %s: %s: %v", address, rsp.Status, err)
	}
	return string(body)
}

// listable returns all kinds of objects but Secrets.
func listable(t *testing.T, d discovery.DiscoveryInterface) []schema.GroupVersionKind {
	t.Helper()
	lists, err := d.ServerPreferredResources()
	if err != nil {
		t.Fatal(err)
	}
	var out []schema.GroupVersionKind
	for _, l := range discovery.FilteredBy(discovery.SupportsAllVerbs{Verbs: []string{"list", "get"}}, lists) {
		gv, err := schema.ParseGroupVersion(l.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range l.APIResources {
			// The API server warns of who lists the last two.
			if !slices.Contains([]string{"Secret", "ComponentStatus", "Endpoints"}, r.Kind) {
				out = append(out, gv.WithKind(r.Kind))
			}
		}
	}
	return out
}

// checkControls checks that what is searched holds what it should, so that
// finding nothing in it says something.
func checkControls(t *testing.T, hay map[string]string, namespace string) {
	t.Helper()
	for what, control := range map[string]struct{ where, text string }{
		"Artifacts":                  {"Artifact " + namespace + "/", `"reason":"Gated"`},
		"Jobs":                       {"Job " + namespace + "/", `--hub-token-file=`},
		"Pods' termination messages": {"Pod " + namespace + "/", `\"reason\":\"Unauthorized\"`},
		"Events":                     {"Event " + namespace + "/", `"reason"`},
		"ClusterProviderConfigs":     {"ClusterProviderConfig /", "tokenSecretRef"},
		"ProviderConfigs":            {"ProviderConfig " + namespace + "/", "secretRef"},
		"kit's masked arguments":     {"logs of " + namespace + "/", "--token ***"},
		"Stream's log":               {"logs of " + namespace + "/", "failed: Gated"},
		"the provider's debug log":   {"logs of " + platform.ProviderNamespace + "/", "DEBUG"},
		"the provider's metrics":     {"metrics of ", "controller_runtime_reconcile_total"},
	} {
		found := false
		for where, text := range hay {
			found = found || strings.HasPrefix(where, control.where) && strings.Contains(text, control.text)
		}
		if !found {
			t.Errorf("%s were not searched: there is no %q", what, control.text)
		}
	}
}

// logAtDebug runs the provider with --debug until the test ends.
func logAtDebug(t *testing.T) {
	t.Helper()
	set := func(ctx context.Context, change func([]string) []string) {
		d := &appsv1.Deployment{}
		key := client.ObjectKey{Namespace: platform.ProviderNamespace, Name: "provider-kitops"}
		if err := local.Client.Get(ctx, key, d); err != nil {
			t.Fatal(err)
		}
		patch := client.MergeFrom(d.DeepCopy())
		c := &d.Spec.Template.Spec.Containers[0]
		c.Args = change(c.Args)
		if err := local.Client.Patch(ctx, d, patch); err != nil {
			t.Fatal(err)
		}
		err := wait.PollUntilContextTimeout(ctx, 200*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
			pods := &corev1.PodList{}
			err := local.Client.Get(ctx, key, d)
			if err == nil {
				err = local.Client.List(ctx, pods, client.InNamespace(key.Namespace))
			}
			return err == nil && d.Status.ObservedGeneration >= d.GetGeneration() &&
				d.Status.UpdatedReplicas == 1 && d.Status.AvailableReplicas == 1 && len(pods.Items) == 1, nil
		})
		if err != nil {
			t.Fatalf("the provider does not come up again: %+v", d.Status)
		}
	}
	set(t.Context(), func(args []string) []string { return append(args, "--debug") })
	t.Cleanup(func() {
		set(context.WithoutCancel(t.Context()), func(args []string) []string { return args[:len(args)-1] })
	})
}
