package main

import (
	"strconv"
	"strings"

	"github.com/crossplane-contrib/provider-kitops/internal/outcome"
)

// Flags of `worker run` that are read before the others are parsed: a provider of
// another contract may pass some that this worker does not know.
const (
	contractFlag   = "contract"
	resultFileFlag = "result-file"

	// defaultResultFile is where the kubelet reads a container's termination
	// message.
	defaultResultFile = "/dev/termination-log"
)

// checkContract returns an error unless the arguments of `worker run` are of the
// contract that this worker knows. It says which of both images is the older one.
func checkContract(args []string) error {
	contract, err := strconv.Atoi(flagValue(args, contractFlag, "0"))
	switch {
	case err != nil || contract < outcome.Contract:
		return outcome.Errorf(outcome.TooOld,
			"the provider is older than the worker's image, which needs contract %d: upgrade the provider, or remove the provider's flag --worker-image and job.workerImage of the ClusterProviderConfig",
			outcome.Contract)
	case contract > outcome.Contract:
		return outcome.Errorf(outcome.TooOld,
			"the worker's image is older than the provider: it knows contract %d, and the provider needs %d: set the provider's flag --worker-image, and job.workerImage of the ClusterProviderConfig, to the provider's own version, or remove them",
			outcome.Contract, contract)
	}
	return nil
}

// flagValue returns the value of a flag in arguments of the form --name=value.
func flagValue(args []string, name, otherwise string) string {
	for _, arg := range args {
		if value, ok := strings.CutPrefix(arg, "--"+name+"="); ok {
			return value
		}
	}
	return otherwise
}
