// Package models has real model files for tests and the demo, without the
// internet: they come with Go modules.
package models

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// Silero's voice activity detection (MIT), a real speech model of 2.3 MB, as a
// Go module carries it.
const (
	speechModule = "github.com/streamer45/silero-vad-go"
	speechFile   = "testfiles/silero_vad.onnx"
	speechSHA256 = "6b99cbfd39246b6706f98ec13c7c50c6b299181f2474fa05cbc8046acc274396"
)

// Speech returns the files of a speech model by their path, as a repository on
// the Hub has them. The model is read once, whatever is asked later.
func Speech(ctx context.Context) (map[string]string, error) {
	once.Do(func() { weights, errWeights = speechWeights(ctx) })
	return speechFiles(weights, errWeights)
}

// WriteSpeech writes the files of Speech as main of a model of the Hub that serves a folder,
// and returns them.
func WriteSpeech(ctx context.Context, hubDir, model string) (map[string]string, error) {
	files, err := Speech(ctx)
	if err != nil {
		return nil, err
	}
	return files, Write(hubDir, model, "main", files)
}

// What once read.
var (
	once       sync.Once
	weights    []byte
	errWeights error
)

// speechFiles returns the files around the model file.
func speechFiles(weights []byte, err error) (map[string]string, error) {
	if err != nil {
		return nil, err
	}
	return map[string]string{
		"README.md":       "---\nlicense: mit\nlibrary_name: onnx\n---\n# Silero VAD\n\nA voice activity detector.\n",
		"LICENSE":         "MIT License\n\nCopyright (c) 2020-present Silero Team\n",
		"config.json":     `{"model_type": "silero-vad", "sampling_rate": 16000}` + "\n",
		"onnx/model.onnx": string(weights),
		".gitattributes":  "*.onnx filter=lfs diff=lfs merge=lfs -text\n",
	}, nil
}

// A module that requires the one with the model, pinned by its checksums. It is
// not the provider's own, which would depend on the model.
const (
	goMod = `module speech

go 1.26.0

require ` + speechModule + ` v0.2.1
`
	goSum = speechModule + ` v0.2.1 h1:Li1/tTC4H/3cyw6q4weX+U8GWwEL3lTekK/nYa1Cvuk=
` + speechModule + ` v0.2.1/go.mod h1:B+2FXs/5fZ6pzl6unUZYhZqkYdOB+3saBVzjOzdZnUs=
`
)

// speechWeights returns the model file, from the module cache or the module
// proxy.
func speechWeights(ctx context.Context) ([]byte, error) {
	dir, err := moduleDir(ctx)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot get module %s", speechModule)
	}
	weights, err := os.ReadFile(filepath.Join(dir, filepath.FromSlash(speechFile)))
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the speech model")
	}
	if sum := sha256.Sum256(weights); hex.EncodeToString(sum[:]) != speechSHA256 {
		return nil, errors.Errorf("%s of %s is not the model that is expected", speechFile, speechModule)
	}
	return weights, nil
}

// moduleDir returns the folder of the module with the model. A package of it is
// listed, since that needs least of a module proxy.
func moduleDir(ctx context.Context) (string, error) {
	dir, err := os.MkdirTemp("", "speech-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	for name, content := range map[string]string{"go.mod": goMod, "go.sum": goSum} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			return "", err
		}
	}
	cmd := exec.CommandContext(ctx, "go", "list", "-find", "-f", "{{.Module.Dir}}", speechModule+"/speech")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=readonly", "GOWORK=off")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	return strings.TrimSpace(string(out)), errors.Wrapf(err, "go list: %s", strings.TrimSpace(stderr.String()))
}

// Write writes the files of a model's revision where a Hub over a folder
// (package hub) serves them: hubDir/models/model/revision.
func Write(hubDir, model, revision string, files map[string]string) error {
	for name, content := range files {
		path := filepath.Join(hubDir, "models", filepath.FromSlash(model), revision, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return errors.Wrap(err, "cannot make the model's folder")
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return errors.Wrap(err, "cannot write the model's file")
		}
	}
	return nil
}

// Packed returns the SHA-256 of each file, in hex, that an artifact of the
// model must hold: all but git's own files.
func Packed(files map[string]string) map[string]string {
	out := make(map[string]string, len(files))
	for name, content := range files {
		if base := filepath.Base(name); base == ".gitattributes" || base == ".gitignore" {
			continue
		}
		sum := sha256.Sum256([]byte(content))
		out[name] = hex.EncodeToString(sum[:])
	}
	return out
}
