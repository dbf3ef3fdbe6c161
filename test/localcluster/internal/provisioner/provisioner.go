// Package provisioner makes PersistentVolumes on the cluster's one node: a
// directory each, as volumes of type local, which honour a Pod's fsGroup.
package provisioner

import (
	"context"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	kerrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/sig-storage-lib-external-provisioner/v13/controller"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Name is the provisioner that StorageClass names.
const Name = "local.kitops.m.crossplane.io/directory"

// StorageClass is the default class of the cluster: its volumes are made when
// a Pod wants them and are deleted with their claim.
func StorageClass() *storagev1.StorageClass {
	mode, reclaim := storagev1.VolumeBindingWaitForFirstConsumer, corev1.PersistentVolumeReclaimDelete
	return &storagev1.StorageClass{
		ObjectMeta: metav1.ObjectMeta{
			Name:        "local",
			Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"},
		},
		Provisioner:       Name,
		VolumeBindingMode: &mode,
		ReclaimPolicy:     &reclaim,
	}
}

// Install makes the StorageClass, unless it is there.
func Install(ctx context.Context, c kubernetes.Interface) error {
	_, err := c.StorageV1().StorageClasses().Create(ctx, StorageClass(), metav1.CreateOptions{})
	if kerrors.IsAlreadyExists(err) {
		return nil
	}
	return errors.Wrap(err, "cannot make the default StorageClass")
}

// Run provisions directories below dir until ctx ends.
func Run(ctx context.Context, c kubernetes.Interface, dir string) {
	controller.NewProvisionController(ctx, c, Name, Directories{Dir: dir},
		controller.LeaderElection(false), controller.MetricsPort(0)).Run(ctx)
}

// Directories provisions a directory for each volume.
type Directories struct {
	Dir string // holds the volumes' directories
}

// Provision makes the directory of a volume. It is root's, as a new block
// device's is: a Pod gets to write there by its fsGroup.
func (d Directories) Provision(_ context.Context, o controller.ProvisionOptions) (*corev1.PersistentVolume, controller.ProvisioningState, error) {
	path := filepath.Join(d.Dir, o.PVName)
	if err := os.MkdirAll(path, 0o755); err != nil {
		return nil, controller.ProvisioningNoChange, errors.Wrap(err, "cannot make a volume's directory")
	}
	return volume(o, path), controller.ProvisioningFinished, nil
}

// Delete removes the directory of a volume.
func (d Directories) Delete(_ context.Context, pv *corev1.PersistentVolume) error {
	return errors.Wrap(os.RemoveAll(filepath.Join(d.Dir, pv.GetName())), "cannot remove a volume's directory")
}

// volume is the PersistentVolume of the directory path on the selected node.
func volume(o controller.ProvisionOptions, path string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: o.PVName},
		Spec: corev1.PersistentVolumeSpec{
			PersistentVolumeReclaimPolicy: *o.StorageClass.ReclaimPolicy,
			AccessModes:                   o.PVC.Spec.AccessModes,
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: o.PVC.Spec.Resources.Requests[corev1.ResourceStorage]},
			PersistentVolumeSource:        corev1.PersistentVolumeSource{Local: &corev1.LocalVolumeSource{Path: path}},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{
					Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{o.SelectedNodeName},
				}},
			}}}},
		},
	}
}
