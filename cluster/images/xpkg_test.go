package images

import (
	"archive/tar"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// root is the source tree as this package's tests see it.
const root = "../.."

// hello is a package with a program that is built in no time.
func hello(version string, archs ...string) XpkgOptions {
	return XpkgOptions{Version: version, Archs: archs, Root: root, programs: map[string]string{"/usr/local/bin/provider": "./cluster/images/testdata/hello"}}
}

// TestXpkg looks at a package as a registry has it.
func TestXpkg(t *testing.T) {
	x := build(t, hello("v1.2.3"))
	manifest, err := x.index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	if manifest.MediaType != types.OCIImageIndex {
		t.Errorf("the index is a %s", manifest.MediaType)
	}
	var platforms []string
	for _, m := range manifest.Manifests {
		platforms = append(platforms, m.Platform.String())
		image, err := x.index.Image(m.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkXpkgImage(t, image, m.Platform.Architecture)
	}
	if diff := cmp.Diff([]string{"linux/amd64", "linux/arm64"}, platforms); diff != "" {
		t.Errorf("platforms: -want, +got:\n%s", diff)
	}
}

// checkXpkgImage looks at the image of one architecture.
func checkXpkgImage(t *testing.T, image v1.Image, arch string) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := image.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	if config.Architecture != arch || config.Config.User != "65532" || !cmp.Equal(config.Config.Entrypoint, []string{"/usr/local/bin/provider"}) {
		t.Errorf("%s: %s as user %s runs %v", arch, config.Architecture, config.Config.User, config.Config.Entrypoint)
	}
	var annotations []string
	for _, l := range manifest.Layers {
		annotation := l.Annotations[xpkgAnnotation]
		annotations = append(annotations, annotation)
		if label := config.Config.Labels[xpkgAnnotation+":"+l.Digest.String()]; label != annotation {
			t.Errorf("%s: the layer has the annotation %q and the label %q", arch, annotation, label)
		}
	}
	if diff := cmp.Diff([]string{"", "base", "upbound"}, annotations); diff != "" {
		t.Errorf("%s: -want, +got:\n%s", arch, diff)
	}
	got := map[string]string{}
	layers, err := image.Layers()
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range layers[1:] {
		file, content := onlyFile(t, l)
		for line := range strings.Lines(content) {
			if strings.HasPrefix(line, "kind: ") && got[file] == "" {
				got[file] = strings.TrimSpace(line)
			}
		}
	}
	if diff := cmp.Diff(map[string]string{"package.yaml": "kind: Provider", ".up/examples.yaml": "kind: Artifact"}, got); diff != "" {
		t.Errorf("%s: what comes first in the files: -want, +got:\n%s", arch, diff)
	}
}

// TestXpkgIsReproducible builds the provider's own package twice, the second time
// in a copy of the source tree. It is slow because it links four programs twice.
func TestXpkgIsReproducible(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the provider's programs twice, which -short leaves out")
	}
	elsewhere := t.TempDir()
	for _, name := range []string{"apis", "cmd", "examples", "internal", "package"} {
		if err := os.CopyFS(filepath.Join(elsewhere, name), os.DirFS(filepath.Join(root, name))); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"go.mod", "go.sum"} {
		data, err := os.ReadFile(filepath.Join(root, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(elsewhere, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	digests := map[string]string{}
	for name, o := range map[string]XpkgOptions{
		"Here":         {Version: "v1.2.3", Archs: []string{"amd64"}, Root: root},
		"Elsewhere":    {Version: "v1.2.3", Archs: []string{"amd64"}, Root: elsewhere},
		"OtherVersion": {Version: "v1.2.4", Archs: []string{"amd64"}, Root: root},
	} {
		d, err := build(t, o).Digest()
		if err != nil {
			t.Fatal(err)
		}
		digests[name] = d
	}
	if digests["Here"] != digests["Elsewhere"] {
		t.Errorf("the same source makes %s here and %s elsewhere", digests["Here"], digests["Elsewhere"])
	}
	if digests["Here"] == digests["OtherVersion"] {
		t.Error("the version is not in the programs")
	}
}

// TestXpkgFiles reads the files again that `crossplane xpkg push` takes.
func TestXpkgFiles(t *testing.T) {
	x := build(t, hello("v1.2.3"))
	files, err := x.Write(filepath.Join(t.TempDir(), "new"))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range files {
		got = append(got, filepath.Base(f))
		image, err := tarball.ImageFromPath(f, nil)
		if err != nil {
			t.Fatal(err)
		}
		config, err := image.ConfigFile()
		if err != nil {
			t.Fatal(err)
		}
		if len(config.Config.Labels) != 2 {
			t.Errorf("%s: the layers have the labels %v", f, config.Config.Labels)
		}
	}
	if diff := cmp.Diff([]string{"provider-kitops_linux_amd64.xpkg", "provider-kitops_linux_arm64.xpkg"}, got); diff != "" {
		t.Errorf("-want, +got:\n%s", diff)
	}
}

// TestXpkgPush pushes to a registry and has Crossplane's own code read what is
// there.
func TestXpkgPush(t *testing.T) {
	var requests atomic.Int64
	next := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		next.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	host := strings.TrimPrefix(server.URL, "http://")
	x := build(t, hello("v1.2.3"))

	// go-containerregistry would speak plainly to a registry that looks local.
	keychain := authn.NewMultiKeychain()
	if _, err := x.Push(t.Context(), host+"/org", PushOptions{Keychain: keychain}); err == nil || requests.Load() != 0 {
		t.Errorf("Push(...) without TLS: %d requests, error %v", requests.Load(), err)
	}
	reference, err := x.Push(t.Context(), host+"/org", PushOptions{Keychain: keychain, PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	digest, err := x.Digest()
	if err != nil {
		t.Fatal(err)
	}
	if want := host + "/org/provider-kitops@" + digest; reference != want {
		t.Errorf("Push(...): got %s, want %s", reference, want)
	}
	tag, err := name.NewTag(host + "/org/provider-kitops:v1.2.3")
	if err != nil {
		t.Fatal(err)
	}
	if d, err := remote.Head(tag); err != nil || d.Digest.String() != digest {
		t.Errorf("the registry has %v for the tag, error %v", d, err)
	}

	const want = `Provider provider-kitops
CustomResourceDefinition clusterproviderconfigs.kitops.m.crossplane.io
CustomResourceDefinition providerconfigs.kitops.m.crossplane.io
CustomResourceDefinition providerconfigusages.kitops.m.crossplane.io
CustomResourceDefinition artifacts.model.kitops.m.crossplane.io
`
	if diff := cmp.Diff(want, lint(t, reference)); diff != "" {
		t.Errorf("what Crossplane finds in the package: -want, +got:\n%s", diff)
	}
}

func TestXpkgErrors(t *testing.T) {
	cases := map[string]struct {
		reason string
		o      XpkgOptions
	}{
		"NoVersion":  {reason: "A package has a version.", o: hello("")},
		"BadVersion": {reason: "The version is a tag, too.", o: hello("not a tag", "amd64")},
		"NoTree":     {reason: "The package is built in the source tree.", o: XpkgOptions{Version: "v1", Root: t.TempDir()}},
		"BadArch":    {reason: "Go knows the architecture.", o: hello("v1", "pdp11")},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			x, err := BuildXpkg(t.Context(), tc.o)
			if err == nil {
				_, err = x.Write(t.TempDir())
			}
			if err == nil {
				t.Errorf("\n%s\nBuildXpkg(...), Write(...): want an error", tc.reason)
			}
		})
	}
}

func build(t *testing.T, o XpkgOptions) *Xpkg {
	t.Helper()
	x, err := BuildXpkg(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// lint returns what the module that reads packages as Crossplane does says.
func lint(t *testing.T, reference string) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "run", ".", reference)
	cmd.Dir = "lint"
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	return string(out)
}

// onlyFile returns the one file of a layer.
func onlyFile(t *testing.T, l v1.Layer) (string, string) {
	t.Helper()
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	archive := tar.NewReader(r)
	h, err := archive.Next()
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(archive)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := archive.Next(); err != io.EOF {
		t.Errorf("%s is not alone in its layer: %v", h.Name, err)
	}
	return h.Name, string(content)
}
