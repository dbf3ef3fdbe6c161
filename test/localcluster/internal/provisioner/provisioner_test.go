package provisioner

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"
)

func TestDirectories(t *testing.T) {
	d := Directories{Dir: t.TempDir()}
	size := corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}
	pv, state, err := d.Provision(t.Context(), controller.ProvisionOptions{
		StorageClass: StorageClass(), PVName: "pvc-1", SelectedNodeName: "node",
		PVC: &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources:   corev1.VolumeResourceRequirements{Requests: size},
		}},
	})
	if err != nil || state != controller.ProvisioningFinished {
		t.Fatalf("Provision(...): state %s, error %v", state, err)
	}
	path := filepath.Join(d.Dir, "pvc-1")
	want := &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: "pvc-1"},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			AccessModes:                   []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:                      size,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: "kubernetes.io/hostname", Operator: corev1.NodeSelectorOpIn, Values: []string{"node"}}},
			}}}},
		},
	}
	if diff := cmp.Diff(want, pv); diff != "" {
		t.Errorf("Provision(...): -want, +got:\n%s", diff)
	}
	if info, err := os.Stat(path); err != nil || !info.IsDir() {
		t.Errorf("Provision(...): want a directory at %s, error %v", path, err)
	}
	if err := d.Delete(t.Context(), pv); err != nil {
		t.Errorf("Delete(...): %v", err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("Delete(...): want nothing at %s, error %v", path, err)
	}
}

func TestInstall(t *testing.T) {
	c := fake.NewClientset()
	for range 2 {
		if err := Install(t.Context(), c); err != nil {
			t.Fatalf("Install(...): %v", err)
		}
	}
	got, err := c.StorageV1().StorageClasses().Get(t.Context(), "local", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got.TypeMeta, got.ManagedFields = metav1.TypeMeta{}, nil // The fake's own.
	if diff := cmp.Diff(StorageClass(), got); diff != "" {
		t.Errorf("Install(...): -want, +got:\n%s", diff)
	}
}
