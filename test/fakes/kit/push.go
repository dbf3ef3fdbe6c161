package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"

	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"
)

type pushOptions struct {
	plainHTTP, tlsVerify bool
	concurrency          int
}

// runPush copies what is stored under source to the registry of destination.
// Credentials come from Docker's config.json, where DOCKER_CONFIG points to.
func runPush(ctx context.Context, home, source, destination string, o pushOptions) error {
	from, err := parseReference(source)
	if err != nil {
		return fmt.Errorf("invalid arguments: %w", err)
	}
	to, err := parseReference(destination)
	if err != nil {
		return fmt.Errorf("invalid arguments: %w", err)
	}
	if to.Registry == "localhost" {
		return errors.New("invalid arguments: registry is required when pushing")
	}
	s, err := openStore(home, from)
	if err != nil {
		return err
	}
	repository, err := openRepository(to, o)
	if err != nil {
		return err
	}
	fmt.Printf("Pushing %s\n", from)
	opts := oras.DefaultCopyOptions
	opts.Concurrency = o.concurrency
	d, err := oras.Copy(ctx, s, from.Reference, repository, to.Reference, opts)
	if err != nil {
		return pushError(err)
	}
	fmt.Printf("Pushed %s\n", d.Digest)
	return nil
}

// runPull copies what is at a registry into the store.
func runPull(ctx context.Context, home, source string, o pushOptions) error {
	from, err := parseReference(source)
	if err != nil {
		return fmt.Errorf("invalid arguments: %w", err)
	}
	s, err := openStore(home, from)
	if err != nil {
		return err
	}
	repository, err := openRepository(from, o)
	if err != nil {
		return err
	}
	fmt.Printf("Pulling %s\n", from)
	d, err := oras.Copy(ctx, repository, from.Reference, s, from.Reference, oras.DefaultCopyOptions)
	if err == nil {
		err = s.tag(d, from.Reference)
	}
	if err != nil {
		return fmt.Errorf("failed to pull: %w", err)
	}
	fmt.Printf("Pulled %s\n", d.Digest)
	return nil
}

func openRepository(ref registry.Reference, o pushOptions) (*remote.Repository, error) {
	docker, err := credentials.NewStoreFromDocker(credentials.StoreOptions{})
	if err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()                                            //nolint:forcetypeassert // It is one.
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: !o.tlsVerify} //nolint:gosec // kit's flag.
	return &remote.Repository{
		Reference: ref,
		PlainHTTP: o.plainHTTP,
		Client: &auth.Client{
			Client:     &http.Client{Transport: retry.NewTransport(transport)},
			Cache:      auth.NewCache(),
			Credential: credentials.Credential(docker),
		},
	}, nil
}

// pushError words a failure as kit does.
func pushError(err error) error {
	var resp *errcode.ErrorResponse
	if !errors.As(err, &resp) {
		return fmt.Errorf("failed to push: failed to copy to remote: %w", err)
	}
	msg := fmt.Sprintf("failed to push: got response %d (%s) from remote", resp.StatusCode, http.StatusText(resp.StatusCode))
	if resp.StatusCode == http.StatusUnauthorized {
		msg += ". Ensure the repository exists and you have push access to it."
	}
	return errors.New(msg)
}
