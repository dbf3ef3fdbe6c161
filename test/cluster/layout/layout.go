// Package layout says where things are inside the cluster's namespaces: the
// paths and the addresses that its parts know each other by. They are the same
// for every cluster, for each has a mount and a network namespace of its own.
package layout

// Paths, as the cluster's processes see them.
const (
	State            = "/var/lib/cluster"  // the cluster's state directory
	Programs         = "/var/lib/programs" // the cache of built programs
	Kubelet          = "/var/lib/kubelet"  // State's folder kubelet
	ContainerdSocket = "/run/containerd/containerd.sock"
)

// Folders and files of the state directory, relative to it.
const (
	PKI    = "pki"
	Config = "config"
	Logs   = "logs"
	// SupervisorLog ends with the end of the log of a program that failed.
	SupervisorLog = Logs + "/supervisor.log"
	Hub           = "hub"     // the folder that the Hub serves
	Volumes       = "volumes" // a folder for each PersistentVolume
	Kubeconfig    = "kubeconfig"
	Password      = "registry-password" // of User at AuthRegistry
	Hosts         = "hosts"             // the names that the cluster's programs know, as /etc/hosts
	Crossplane    = "crossplane"        // Crossplane's certificates and its cache of packages
)

// Addresses in the cluster's network namespace.
const (
	NodeName       = "local"
	NodeIP         = "10.200.0.2"
	NodeSubnetBits = "24"
	PodSubnet      = "10.244.0.0/16"
	ServiceSubnet  = "10.96.0.0/12"
	APIServiceIP   = "10.96.0.1" // the Service kubernetes.default
	APIServer      = NodeIP + ":6443"
	Registry       = NodeIP + ":5000" // open to all
	AuthRegistry   = NodeIP + ":5001" // wants User and a password
	HubHTTP        = NodeIP + ":8000"
	HubHTTPS       = NodeIP + ":443" // as HubHost, with a certificate of the cluster's CA
	HubHost        = "huggingface.co"
	CDN            = "10.200.0.3" // where the Hub's large files come from
)

// CrossplaneNamespace is where Crossplane keeps its objects and runs packages.
const CrossplaneNamespace = "crossplane-system"

// User is the user of the registry that wants one.
const User = "kitops"

// PauseImage holds each Pod's namespaces.
const PauseImage = "registry.local/pause:1"
