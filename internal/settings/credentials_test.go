package settings

import (
	"context"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	modelv1alpha1 "github.com/crossplane-contrib/provider-kitops/apis/model/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/apis/v1alpha1"
	"github.com/crossplane-contrib/provider-kitops/internal/artifact"
	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// given is what a run gets of Secrets.
type given struct {
	// Mounted maps what it is to the Secret and its key.
	Mounted map[string]string

	// Copied is what the Artifact's own Secret holds, by key: of a docker
	// config the name of its entry and the password, else the value.
	Copied map[string]string
}

func TestRunsCredentials(t *testing.T) {
	const copied = artifact.CopiedSecret
	type args struct {
		config  client.Object
		own     bool
		docker  string // Of the Secret registry, or own.
		certs   map[string]string
		outside bool // The Secrets are not in the Artifact's namespace.
		target  string
	}
	ca := map[string]string{"ca.crt": "authority"}
	pair := map[string]string{"tls.crt": "certificate", "tls.key": "key"}
	all := map[string]string{"ca.crt": "authority", "tls.crt": "certificate", "tls.key": "key"}
	cases := map[string]struct {
		reason string
		args   args
		want   given
	}{
		"Plain": {
			reason: "What kit can use is mounted as it is.",
			args:   args{config: namespacedConfig(), docker: entries(credentialsHost, "other.example.com"), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"Path": {
			reason: "The one entry that kit would not find is copied.",
			args:   args{config: namespacedConfig(), docker: entries(credentialsHost, credentialsHost+"/models", credentialsHost+"/other"), certs: ca},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": "certs/ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " " + credentialsHost + "/models"},
			},
		},
		"OtherPath": {
			reason: "One for another repository changes nothing.",
			args:   args{config: namespacedConfig(), docker: entries(credentialsHost, credentialsHost+"/other"), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"Wildcard": {
			reason: "So is one with wildcards.",
			args:   args{config: namespacedConfig(), docker: entries("*.example.com"), certs: ca},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": "certs/ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " *.example.com"},
			},
		},
		"Stranger": {
			reason: "Where there is none, the registry says so.",
			args:   args{config: namespacedConfig(), docker: entries("other.example.com"), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"Own": {
			reason: "The Artifact's own are mounted as they are.",
			args:   args{config: namespacedConfig(), own: true, docker: entries(credentialsHost), certs: ca},
			want:   given{Mounted: map[string]string{"credentials": "own/.dockerconfigjson", "ca": "certs/ca.crt"}},
		},
		"OwnWildcard": {
			reason: "And copied where kit would not find them.",
			args:   args{config: namespacedConfig(), own: true, docker: entries("*.example.com"), certs: ca},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": "certs/ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " *.example.com"},
			},
		},
		"Certificate": {
			reason: "A client certificate goes with its key, and needs no authority.",
			args:   args{config: namespacedConfig(), docker: entries(credentialsHost), certs: pair},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "certificate": "certs/tls.crt", "key": "certs/tls.key"}},
		},
		"Both": {
			reason: "All of them may be there.",
			args:   args{config: namespacedConfig(), docker: entries(credentialsHost), certs: all},
			want:   given{Mounted: map[string]string{"credentials": "registry/.dockerconfigjson", "ca": "certs/ca.crt", "certificate": "certs/tls.crt", "key": "certs/tls.key"}},
		},
		"Cluster": {
			reason: "Of another namespace's Secrets all is copied that is used, and nothing else.",
			args:   args{config: clusterConfig(), docker: entries(credentialsHost, "other.example.com"), certs: all, outside: true},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": copied + "/registry-ca.crt", "certificate": copied + "/registry-tls.crt", "key": copied + "/registry-tls.key"},
				Copied: map[string]string{
					".dockerconfigjson": credentialsHost + " " + credentialsHost,
					"registry-ca.crt":   "authority", "registry-tls.crt": "certificate", "registry-tls.key": "key",
				},
			},
		},
		"ClusterPath": {
			reason: "The most specific entry for the repository is.",
			args:   args{config: clusterConfig(), docker: entries(credentialsHost, credentialsHost+"/models/qwen3"), certs: ca, outside: true},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson", "ca": copied + "/registry-ca.crt"},
				Copied:  map[string]string{".dockerconfigjson": credentialsHost + " " + credentialsHost + "/models/qwen3", "registry-ca.crt": "authority"},
			},
		},
		"OtherRegistry": {
			reason: "Nothing is for another registry than the config's.",
			args:   args{config: clusterConfig(), docker: entries(credentialsHost, "*.example.com", "*.example.com:*"), certs: all, outside: true, target: "other.example.com"},
			want:   given{Mounted: map[string]string{}},
		},
		"OtherRegistryOwn": {
			reason: "But what the Artifact itself brings.",
			args:   args{config: namespacedConfig(), own: true, docker: entries("*.example.com"), certs: all, target: "other.example.com"},
			want: given{
				Mounted: map[string]string{"credentials": copied + "/.dockerconfigjson"},
				Copied:  map[string]string{".dockerconfigjson": "other.example.com *.example.com"},
			},
		},
		"ClusterOwn": {
			reason: "The Artifact's own take the place of the config's, which are not copied.",
			args:   args{config: clusterConfig(), own: true, docker: entries(credentialsHost), certs: ca, outside: true},
			want: given{
				Mounted: map[string]string{"credentials": "own/.dockerconfigjson", "ca": copied + "/registry-ca.crt"},
				Copied:  map[string]string{"registry-ca.crt": "authority"},
			},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			namespace, docker := "team-a", credentialsSecret("team-a", "own", map[string]string{corev1.DockerConfigJsonKey: tc.args.docker})
			if tc.args.outside {
				namespace = "system"
			}
			if !tc.args.own {
				docker.SetName("registry")
				docker.SetNamespace(namespace)
			}
			reads := 0
			kube := interceptor.NewClient(newKube(t, docker, credentialsSecret(namespace, "certs", tc.args.certs)), interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					if _, ok := o.(*corev1.Secret); ok {
						reads++
					}
					return c.Get(ctx, key, o, opts...)
				},
			})
			a := credentialsArtifact(tc.args.own)
			a.Spec.ForProvider.Target.Registry = v1alpha1.RegistryHost(tc.args.target)
			s, err := resolve(t, kube, tc.args.config, a)
			if err != nil {
				t.Fatal(err)
			}
			a.Effective = s.Effective
			data, err := s.SecretData(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if reads > 2 {
				t.Errorf("\n%s\nSecretData(...): want each of two Secrets to be read once at most, got %d reads", tc.reason, reads)
			}
			if diff := cmp.Diff(tc.want, given{Mounted: mountedBy(t, a), Copied: told(t, data)}); diff != "" {
				t.Errorf("\n%s\n-want, +got:\n%s", tc.reason, diff)
			}
			reads = 0
			if _, err := s.ConfigHash(t.Context()); err != nil {
				t.Errorf("\n%s\nConfigHash(...): %v", tc.reason, err)
			}
			if _, err := s.SecretData(t.Context()); err != nil || reads > 2 {
				t.Errorf("\n%s\nSecretData(...): want each of two Secrets to be read once at most where a run begins, got %d reads, %v", tc.reason, reads, err)
			}
		})
	}
}

// mountedBy returns which keys of which Secrets the Artifact's Job mounts.
func mountedBy(t *testing.T, a *modelv1alpha1.Artifact) map[string]string {
	t.Helper()
	what := map[string]string{"docker/config.json": "credentials", "registry-ca.crt": "ca", "registry-tls.crt": "certificate", "registry-tls.key": "key"}
	out := map[string]string{}
	for _, v := range artifact.BuildJob(a, "kit:test", nil).Spec.Template.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			for _, i := range s.Secret.Items {
				out[what[i.Path]] = s.Secret.Name + "/" + i.Key
			}
		}
	}
	return out
}

// told returns a Secret's data in few words.
func told(t *testing.T, data map[string][]byte) map[string]string {
	t.Helper()
	var out map[string]string
	for key, value := range data {
		if out == nil {
			out = map[string]string{}
		}
		out[key] = string(value)
		if key != corev1.DockerConfigJsonKey {
			continue
		}
		var c struct {
			Auths map[string]struct{ Auth []byte }
		}
		if err := json.Unmarshal(value, &c); err != nil || len(c.Auths) != 1 {
			t.Fatalf("want one entry, got %d, %v", len(c.Auths), err)
		}
		for name, e := range c.Auths {
			_, password, _ := strings.Cut(string(e.Auth), ":")
			out[key] = name + " " + password
		}
	}
	return out
}

func TestReadCertificates(t *testing.T) {
	cases := map[string]struct {
		reason string
		args   map[string]string // Nil for no Secret.
		want   string            // What the message says; empty for none.
	}{
		"All":      {reason: "All may be there.", args: map[string]string{"ca.crt": "a", "tls.crt": "c", "tls.key": "k"}},
		"CA":       {reason: "An authority alone may be.", args: map[string]string{"ca.crt": "a"}},
		"EmptyTLS": {reason: "A Secret of type kubernetes.io/tls has empty keys instead of none.", args: map[string]string{"ca.crt": "a", "tls.crt": "", "tls.key": ""}},
		"Pair":     {reason: "A client certificate alone may be.", args: map[string]string{"tls.crt": "c", "tls.key": "k"}},
		"BlankTLS": {reason: "White space is no certificate.", args: map[string]string{"ca.crt": "a", "tls.crt": "\n", "tls.key": " "}},
		"BlankKey": {reason: "Nor is it a key.", args: map[string]string{"tls.crt": "c", "tls.key": "\n"}, want: `has no value for the key "tls.key"`},
		"NoKey":    {reason: "A certificate needs its key.", args: map[string]string{"ca.crt": "a", "tls.crt": "c"}, want: `has no value for the key "tls.key"`},
		"NoCert":   {reason: "A key needs its certificate.", args: map[string]string{"ca.crt": "a", "tls.key": "hunter2"}, want: `has no value for the key "tls.crt"`},
		"Nothing":  {reason: "One of both must be there.", args: map[string]string{"other": "x"}, want: `"ca.crt", nor for "tls.crt" and "tls.key"`},
		"Missing":  {reason: "The Secret must be there.", want: `does not exist: create it with the key "ca.crt", or with "tls.crt" and "tls.key"`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			kube := newKube(t)
			if tc.args != nil {
				kube = newKube(t, credentialsSecret("ns", "certs", tc.args))
			}
			err := (&secretReader{kube: kube}).readCertificates(t.Context(), &secretKey{NamespacedName: types.NamespacedName{Namespace: "ns", Name: "certs"}}, &registry.Options{})
			if (err == nil) != (tc.want == "") {
				t.Fatalf("\n%s\nreadCertificates(...): %v", tc.reason, err)
			}
			if err != nil && (outcome.ReasonOf(err) != outcome.ConfigMissing || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), "hunter2")) {
				t.Errorf("\n%s\nreadCertificates(...): want ConfigMissing with %q, got %v", tc.reason, tc.want, err)
			}
		})
	}
}
