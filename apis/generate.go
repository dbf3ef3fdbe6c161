// Package apis holds the provider's API groups.
package apis

// Deepcopy functions and CustomResourceDefinitions. A generated definition
// whose kind is gone must go too, so the folder is made anew.
//go:generate rm -rf ../package/crds
//go:generate go tool controller-gen object paths=./... crd:crdVersions=v1,allowDangerousTypes=false output:crd:artifacts:config=../package/crds
