// Command probe is what the test's Pod runs: it writes to a volume, asks the
// API server for its version through the cluster's Service, and leaves a
// termination message.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

func main() {
	message, err := probe()
	if err != nil {
		message = err.Error()
	}
	fmt.Println(message)
	_ = os.WriteFile("/dev/termination-log", []byte(message), 0o644) // The test misses it.
	if err != nil {
		os.Exit(1)
	}
}

func probe() (string, error) {
	if err := os.WriteFile("/data/file", []byte("kept"), 0o644); err != nil {
		return "", err
	}
	data, err := os.ReadFile("/data/file")
	if err != nil {
		return "", err
	}
	status, err := apiserver()
	return fmt.Sprintf("%s as %d, api server %s", data, os.Getuid(), status), err
}

// apiserver asks the API server as any Pod would.
func apiserver() (string, error) {
	const ca = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt"
	data, err := os.ReadFile(ca)
	if err != nil {
		return "", err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(data)
	client := &http.Client{
		Timeout:   10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
	}
	host := net.JoinHostPort(os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT"))
	response, err := client.Get("https://" + host + "/version")
	if err != nil {
		return "", err
	}
	return response.Status, response.Body.Close()
}
