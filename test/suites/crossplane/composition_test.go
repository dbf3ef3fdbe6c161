package crossplane

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"oras.land/oras-go/v2/registry/remote/auth"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/cluster/images"
	"github.com/crossplane-contrib/provider-kitops/test/models"
	"github.com/crossplane-contrib/provider-kitops/test/platform"
)

const (
	// serverImage is the image of the servers, which tell what they were given.
	serverImage = "modelserver:dev"

	// pullSecret is the Secret that examples/compositions pull with.
	pullSecret = "registry-pull"

	// answerTTL is how long a function's answer holds where it does not say (the
	// function SDK's response.DefaultTTL). When it expires, Crossplane reconciles the
	// composite resource, a tenth sooner or later, also while its watch circuit is open.
	answerTTL = time.Minute

	// servingPatience is how long a ModelServer may take to serve another artifact.
	// While its watch circuit is open, it may learn only when an answer expires that the
	// Artifact has another digest, and then that the Deployment has rolled out.
	servingPatience = patience + 2*(answerTTL+answerTTL/10)
)

// testComposition makes a ModelServer of examples/compositions, from a registry
// that wants a password, looks at what its servers were given, has them serve
// another revision and deletes it.
func testComposition(t *testing.T) {
	installed(t, v1)
	installComposition(t)
	n := newTenant(t)
	n.configureGuarded()
	n.applyComposition()
	events := n.watch()

	n.applyServer("main")
	first := n.waitServing("", n.files)
	n.checkWatched()
	n.checkReadable()

	changed := map[string]string{"config.json": `{"model_type": "another"}`}
	for name, content := range n.files {
		if _, ok := changed[name]; !ok {
			changed[name] = content
		}
	}
	if err := models.Write(local.Cluster.HubDir(), speech, "v2", changed); err != nil {
		t.Fatal(err)
	}
	n.applyServer("v2")
	second := n.waitServing(first, changed)
	checkOrder(t, events(), first, second)

	kubectl(t, "", "delete", "--namespace="+n.namespace, "modelserver/speech", "--timeout="+patience.String())
	eventually(t, "nothing is left", func(context.Context) string {
		left := append(n.left(), names(t, &appsv1.DeploymentList{}, n.namespace)...)
		if len(left) == 1 && left[0] == "v1.Secret/"+pullSecret {
			return ""
		}
		return strings.Join(left, ", ")
	})
	if n.tagged() {
		t.Error("the tag is still in the registry")
	}
}

// installComposition installs the functions of examples/compositions: a fake of
// function-patch-and-transform, which is not published as a Go module, and
// function-auto-ready itself.
func installComposition(t *testing.T) {
	t.Helper()
	for _, f := range []platform.Function{
		{Name: "function-patch-and-transform", Dir: "../../fakes/function", Program: "."},
		{Name: "function-auto-ready", Dir: "../../fakes/function/autoready", Program: "github.com/crossplane/function-auto-ready"},
	} {
		if err := local.InstallFunction(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}
	tarball := filepath.Join(t.TempDir(), "image.tar")
	err := images.Build(t.Context(), tarball, images.Options{
		Name: serverImage, Dir: "../../..", Entrypoint: []string{"/server"}, User: "65532",
		Programs: map[string]string{"/server": "./test/suites/composition/server"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := local.Cluster.LoadImage(t.Context(), tarball); err != nil {
		t.Fatal(err)
	}
}

// configureGuarded makes the tenant's ClusterProviderConfig one of the registry
// that wants a password, which both it and the servers read from a Secret in
// the tenant's namespace.
func (n *tenant) configureGuarded() {
	n.t.Helper()
	password, err := local.Cluster.RegistryPassword()
	if err != nil {
		n.t.Fatal(err)
	}
	kubectl(n.t, "", "create", "secret", "docker-registry", pullSecret, "--namespace="+n.namespace,
		"--docker-server="+local.Cluster.AuthRegistryHost(), "--docker-username="+local.Cluster.RegistryUser(), "--docker-password="+password)
	pc := &v1alpha1.ClusterProviderConfig{}
	if err := local.Client.Get(n.t.Context(), client.ObjectKey{Name: n.namespace}, pc); err != nil {
		n.t.Fatal(err)
	}
	pc.Spec.Registry.Host = v1alpha1.RegistryHost(local.Cluster.AuthRegistryHost())
	pc.Spec.Registry.Credentials = v1alpha1.ClusterRegistryCredentials{
		Source: xpv2.CredentialsSourceSecret, SecretRef: &xpv2.SecretReference{Name: pullSecret, Namespace: n.namespace},
	}
	if err := local.Client.Update(n.t.Context(), pc); err != nil {
		n.t.Fatal(err)
	}
}

// applyComposition applies examples/compositions with what a platform team sets
// in it: the worker's image, the ClusterProviderConfig, and how the registry is
// spoken to.
func (n *tenant) applyComposition() {
	n.t.Helper()
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join("..", "..", "..", "examples", "compositions", name))
		if err != nil {
			n.t.Fatal(err)
		}
		return string(b)
	}
	composition := read("composition.yaml")
	for _, change := range [][2]string{
		{"image: xpkg.crossplane.io/crossplane-contrib/provider-kitops:v0.0.0-dev", "image: " + packages[v1]},
		{"                  name: default\n", "                  name: " + n.namespace + "\n"},
		{"- --docker-config=/registry\n", "- --docker-config=/registry\n                          - --plain-http\n"},
	} {
		if strings.Count(composition, change[0]) != 1 {
			n.t.Fatalf("composition.yaml does not have %q once", change[0])
		}
		composition = strings.Replace(composition, change[0], change[1], 1)
	}
	kubectl(n.t, read("xrd.yaml"), "apply", "--filename=-")
	kubectl(n.t, "", "wait", "xrd/modelservers.platform.example.org", "--for=condition=Established", "--timeout="+patience.String())
	kubectl(n.t, composition, "apply", "--filename=-")
}

// applyServer applies a ModelServer of a revision of the speech model.
func (n *tenant) applyServer(revision string) {
	n.t.Helper()
	kubectl(n.t, fmt.Sprintf(`
apiVersion: platform.example.org/v1alpha1
kind: ModelServer
metadata: {namespace: %s, name: speech}
spec: {model: %s, revision: %s, replicas: 2, image: %q}
`, n.namespace, speech, revision, serverImage), "apply", "--filename=-")
}

// waitServing waits until the ModelServer is ready with another artifact than
// the former one, checks that all of its servers have these files, and returns
// the artifact's reference.
func (n *tenant) waitServing(former string, files map[string]string) string {
	n.t.Helper()
	reference := ""
	eventuallyWithin(n.t, servingPatience, "the ModelServer serves another artifact than "+former, func(ctx context.Context) string {
		xr := n.modelServer()
		if err := local.Client.Get(ctx, client.ObjectKeyFromObject(xr), xr); err != nil {
			return err.Error()
		}
		reference, _, _ = unstructured.NestedString(xr.Object, "status", "reference")
		serving, _, _ := unstructured.NestedString(xr.Object, "status", "serving")
		ready := strings.Contains(fmt.Sprint(xr.Object["status"]), "reason:Available")
		if reference == former || serving != reference || !ready {
			return fmt.Sprintf("status: %v", xr.Object["status"])
		}
		return ""
	})
	n.checkArtifact(reference)
	want := models.Packed(files)
	eventually(n.t, "all servers have the files of "+reference, func(ctx context.Context) string {
		pods := &corev1.PodList{}
		if err := local.Client.List(ctx, pods, client.InNamespace(n.namespace), client.MatchingLabels{"app.kubernetes.io/name": "modelserver"}); err != nil {
			return err.Error()
		}
		if len(pods.Items) != 2 {
			return fmt.Sprintf("there are %d Pods", len(pods.Items))
		}
		for i := range pods.Items {
			p := &pods.Items[i]
			if pulled := p.Spec.InitContainers[0].Args[0]; pulled != reference {
				return fmt.Sprintf("%s pulled %s", p.GetName(), pulled)
			}
			got, err := served(ctx, p)
			if err != nil {
				return err.Error()
			}
			if diff := cmp.Diff(want, got); diff != "" {
				return fmt.Sprintf("%s: -Hub, +server: %s", p.GetName(), diff)
			}
		}
		return ""
	})
	return reference
}

// checkWatched checks that the ModelServer did not get so many watch events that
// Crossplane stopped watching for it.
func (n *tenant) checkWatched() {
	n.t.Helper()
	xr := n.modelServer()
	if err := local.Client.Get(n.t.Context(), client.ObjectKeyFromObject(xr), xr); err != nil {
		n.t.Fatal(err)
	}
	if status := fmt.Sprint(xr.Object["status"]); strings.Contains(status, "reason:WatchCircuitOpen") {
		n.t.Errorf("A ModelServer should be made within Crossplane's limit of watch events, got %s", status)
	}
}

// modelServer returns the tenant's ModelServer, to be read.
func (n *tenant) modelServer() *unstructured.Unstructured {
	xr := &unstructured.Unstructured{}
	xr.SetAPIVersion("platform.example.org/v1alpha1")
	xr.SetKind("ModelServer")
	xr.SetNamespace(n.namespace)
	xr.SetName("speech")
	return xr
}

// checkArtifact checks that a reference is that of the composed Artifact.
func (n *tenant) checkArtifact(reference string) {
	n.t.Helper()
	a := n.get("speech")
	want := local.Cluster.AuthRegistryHost() + "/models/" + n.namespace + "/speech@" + a.Status.AtProvider.Digest
	if reference != want || a.Status.AtProvider.PinnedReference != want {
		n.t.Errorf("reference: the ModelServer has %s, the Artifact %s, want %s", reference, a.Status.AtProvider.PinnedReference, want)
	}
}

// served asks a server which files it has.
func served(ctx context.Context, p *corev1.Pod) (map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Status.PodIP+":8000/files", nil)
	if err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: local.Cluster.DialContext, DisableKeepAlives: true}
	rsp, err := (&http.Client{Transport: transport}).Do(req)
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close()
	b, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	return files, json.Unmarshal(b, &files)
}

// checkReadable checks what people see of a ModelServer.
func (n *tenant) checkReadable() {
	n.t.Helper()
	got := strings.Fields(kubectl(n.t, "", "get", "modelservers", "--namespace="+n.namespace, "--no-headers"))
	if len(got) < 3 || got[0] != "speech" || !strings.Contains(strings.Join(got, " "), speech) {
		n.t.Errorf("kubectl get modelservers: %v", got)
	}
	log := kubectl(n.t, "", "logs", "--namespace="+n.namespace, "deployment/speech", "--container=pull")
	if !strings.Contains(log, "done: sha256:") {
		n.t.Errorf("the init container's log does not end with what it pulled:\n%s", log)
	}
}

// tagged reports whether the registry has the ModelServer's artifact by its tag.
func (n *tenant) tagged() bool {
	n.t.Helper()
	password, err := local.Cluster.RegistryPassword()
	if err != nil {
		n.t.Fatal(err)
	}
	repository, err := local.Repository(local.Cluster.AuthRegistryHost(), "models/"+n.namespace+"/speech",
		auth.Credential{Username: local.Cluster.RegistryUser(), Password: password})
	if err != nil {
		n.t.Fatal(err)
	}
	_, err = repository.Resolve(n.t.Context(), "latest")
	return err == nil
}
