package artifact

import (
	"strings"
	"testing"

	"github.com/crossplane/crossplane-runtime/v2/pkg/meta"
	xpv2 "github.com/crossplane/crossplane/apis/v2/core/v2"
	corev1 "k8s.io/api/core/v1"

	"github.com/crossplane-contrib/provider-kitops/internal/registry"
)

// TestRegistryIPv6 has an Artifact live at a registry that has an IPv6 address.
func TestRegistryIPv6(t *testing.T) {
	l := newLifeIn(t, newBase(t), &fuse{}, "", "[::1]:0")
	l.create(l.a)
	l.reachReady()
	name := l.host + "/" + l.a.Spec.ForProvider.Target.Repository
	if got := meta.GetExternalName(l.a); !strings.HasPrefix(name, "[::1]:") || got != name {
		t.Errorf("external name: want %s, got %s", name, got)
	}
	if got, err := registry.ParseReference(l.a.Status.AtProvider.PinnedReference); err != nil || got.Registry != l.host {
		t.Errorf("pinned reference %q: want it at %s, got %v, %v", l.a.Status.AtProvider.PinnedReference, l.host, got, err)
	}
	l.live(3)
	if c := l.a.GetCondition(xpv2.TypeReady); c.Status != corev1.ConditionTrue {
		t.Errorf("An Artifact that is Ready should stay so, got %+v", c)
	}
}
