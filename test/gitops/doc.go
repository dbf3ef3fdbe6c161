// Package gitops has Flux's own evaluator of health checks read Artifacts. It is a module
// of its own, since Flux needs another version of Kubernetes' libraries than the provider.
package gitops
