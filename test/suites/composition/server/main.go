// Command server is a fake server of models for tests: it tells which files
// it was given.
package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// What examples/compositions ask of a server.
const (
	address = ":8000"
	models  = "/model"
)

func main() {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /files", func(w http.ResponseWriter, _ *http.Request) {
		files, err := sums(os.DirFS(models))
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		_ = json.NewEncoder(w).Encode(files)
	})
	server := &http.Server{Addr: address, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	fmt.Fprintln(os.Stderr, server.ListenAndServe())
	os.Exit(1)
}

// sums are the SHA-256 of all files, in hex, by their path, without what a pull
// keeps for itself.
func sums(dir fs.FS) (map[string]string, error) {
	out := map[string]string{}
	err := fs.WalkDir(dir, ".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && strings.HasPrefix(filepath.Base(name), ".provider-kitops"):
			return fs.SkipDir
		case e.IsDir():
			return nil
		}
		b, err := fs.ReadFile(dir, name)
		sum := sha256.Sum256(b)
		out[name] = hex.EncodeToString(sum[:])
		return err
	})
	return out, err
}
