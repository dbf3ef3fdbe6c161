// Package apis has the API groups of the provider.
package apis

// Deepcopy functions and CustomResourceDefinitions. A generated definition
// whose kind is gone must go too, so the folder is recreated.
//go:generate rm -rf ../package/crds
//go:generate go tool controller-gen object paths=./... crd:crdVersions=v1,allowDangerousTypes=false output:crd:artifacts:config=../package/crds

// Pages of docs/reference follow from the definitions and the code.
//go:generate rm -rf ../docs/reference/api
//go:generate go run ../hack/reference
