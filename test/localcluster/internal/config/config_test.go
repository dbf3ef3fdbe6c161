package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func TestFiles(t *testing.T) {
	files, err := Files(Node{Snapshotter: "native", Runc: "/usr/sbin/runc", CNI: "/usr/lib/cni", RegistrySecret: "secret"}, "/htpasswd")
	if err != nil {
		t.Fatalf("Files(...): %v", err)
	}
	cases := map[string]struct {
		reason string
		file   string
		want   []string
		not    []string
	}{
		"Containerd": {
			reason: "containerd takes what the machine has.",
			file:   "containerd.toml",
			want:   []string{`snapshotter = "native"`, `BinaryName = "/usr/sbin/runc"`, `bin_dirs = ["/usr/lib/cni"]`, `sandbox = "registry.local/pause:1"`},
		},
		"Kubelet": {
			reason: "The kubelet finds containerd and accepts control groups of version 1.",
			file:   "kubelet.yaml",
			want:   []string{`containerRuntimeEndpoint: "unix:///run/containerd/containerd.sock"`, "failCgroupV1: false"},
		},
		"OpenRegistry": {
			reason: "The open registry asks for no password.",
			file:   "registry.yaml",
			want:   []string{`addr: "10.200.0.2:5000"`, `secret: "secret"`, `rootdirectory: "/var/lib/cluster/registry"`, "delete: {enabled: true}"},
			not:    []string{"auth"},
		},
		"AuthRegistry": {
			reason: "The other registry does, and stores elsewhere.",
			file:   "registry-auth.yaml",
			want:   []string{`addr: "10.200.0.2:5001"`, `path: "/htpasswd"`, `rootdirectory: "/var/lib/cluster/registry-auth"`},
		},
		"PlainHTTP": {
			reason: "The node pulls from the registry by plain HTTP.",
			file:   "registries/10.200.0.2:5001/hosts.toml",
			want:   []string{`[host."http://10.200.0.2:5001"]`},
		},
		"Network": {
			reason: "Pods get addresses of their own.",
			file:   "cni/10-local.conflist",
			want:   []string{`"subnet": "10.244.0.0/16"`},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			got := string(files[tc.file])
			for _, w := range tc.want {
				if !strings.Contains(got, w) {
					t.Errorf("\n%s\nFiles(...): %s lacks %s:\n%s", tc.reason, tc.file, w, got)
				}
			}
			for _, n := range tc.not {
				if strings.Contains(got, n) {
					t.Errorf("\n%s\nFiles(...): %s has %s:\n%s", tc.reason, tc.file, n, got)
				}
			}
			if ext := filepath.Ext(tc.file); ext == ".toml" {
				return
			}
			if err := yaml.Unmarshal(files[tc.file], &map[string]any{}); err != nil {
				t.Errorf("\n%s\nUnmarshal(%s): %v", tc.reason, tc.file, err)
			}
		})
	}
}

func TestKubeconfig(t *testing.T) {
	dir := t.TempDir()
	for _, file := range []string{"ca.crt", "admin.crt", "admin.key"} {
		if err := os.WriteFile(filepath.Join(dir, file), []byte("the "+file), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	data, err := Kubeconfig(dir, "admin")
	if err != nil {
		t.Fatalf("Kubeconfig(...): %v", err)
	}
	c, err := clientcmd.RESTConfigFromKubeConfig(data)
	if err != nil {
		t.Fatalf("RESTConfigFromKubeConfig(...): %v", err)
	}
	want := []string{"https://10.200.0.2:6443", "the ca.crt", "the admin.crt", "the admin.key"}
	if diff := cmp.Diff(want, []string{c.Host, string(c.CAData), string(c.CertData), string(c.KeyData)}); diff != "" {
		t.Errorf("Kubeconfig(...): -want, +got:\n%s", diff)
	}
	if _, err := Kubeconfig(dir, "nobody"); err == nil {
		t.Error("Kubeconfig(...): want an error for a user without a certificate")
	}
}
