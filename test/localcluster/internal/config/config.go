// Package config renders the configuration files of the cluster's programs.
package config

import (
	"bytes"
	"embed"
	"encoding/base64"
	"os"
	"path/filepath"
	"text/template"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
)

//go:embed templates
var templates embed.FS

// A Node is what the node's configuration depends on, besides the layout.
type Node struct {
	Snapshotter    string // containerd's: overlayfs, or native where that does not work
	Runc           string // path of the program
	CNI            string // directory of the CNI plugins
	RegistrySecret string // what the registries sign their upload states with
}

// view is what the templates see: the layout and a file's own values.
type view struct {
	Node
	State, ContainerdSocket, PauseImage, PodSubnet, APIServer, CrossplaneNamespace string

	Name, Address, Secret, Htpasswd string
	User, CA, Certificate, Key      string
}

func newView(n Node) view {
	return view{
		Node:                n,
		State:               layout.State,
		ContainerdSocket:    layout.ContainerdSocket,
		PauseImage:          layout.PauseImage,
		PodSubnet:           layout.PodSubnet,
		APIServer:           layout.APIServer,
		CrossplaneNamespace: layout.CrossplaneNamespace,
	}
}

// Files are the configuration files by their path below the folder of
// configurations.
func Files(n Node, htpasswd string) (map[string][]byte, error) {
	files := map[string][]byte{}
	add := func(path, name string, v view) error {
		data, err := render(name, v)
		files[path] = data
		return err
	}
	open, auth := newView(n), newView(n)
	open.Name, open.Address, open.Secret = "registry", layout.Registry, n.RegistrySecret
	auth.Name, auth.Address, auth.Secret = "registry-auth", layout.AuthRegistry, n.RegistrySecret
	auth.Htpasswd = htpasswd
	for _, f := range []struct {
		path, template string
		view           view
	}{
		{"containerd.toml", "containerd.toml", newView(n)},
		{"kubelet.yaml", "kubelet.yaml", newView(n)},
		{"cni/10-local.conflist", "cni.conflist", newView(n)},
		{"crossplane.yaml", "crossplane.yaml", newView(n)},
		{"registry.yaml", "registry.yaml", open},
		{"registry-auth.yaml", "registry.yaml", auth},
		{"registries/" + layout.Registry + "/hosts.toml", "hosts.toml", open},
		{"registries/" + layout.AuthRegistry + "/hosts.toml", "hosts.toml", auth},
	} {
		if err := add(f.path, f.template, f.view); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Kubeconfig renders the kubeconfig of a user whose certificate is in the
// directory pki as USER.crt and USER.key.
func Kubeconfig(pki, user string) ([]byte, error) {
	v := newView(Node{})
	v.User = user
	for file, field := range map[string]*string{"ca.crt": &v.CA, user + ".crt": &v.Certificate, user + ".key": &v.Key} {
		data, err := os.ReadFile(filepath.Join(pki, file))
		if err != nil {
			return nil, errors.Wrapf(err, "cannot make a kubeconfig for %s", user)
		}
		*field = base64.StdEncoding.EncodeToString(data)
	}
	return render("kubeconfig", v)
}

// render executes one template.
func render(name string, v view) ([]byte, error) {
	t, err := template.ParseFS(templates, "templates/"+name)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot parse the template %s", name)
	}
	var b bytes.Buffer
	err = t.Execute(&b, v)
	return b.Bytes(), errors.Wrapf(err, "cannot render %s", name)
}
