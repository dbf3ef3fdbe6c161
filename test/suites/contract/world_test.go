package contract

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// pageSize of the Hub's listings. huggingface.co has 1000; with this one a
// folder need not be as large to have a second page.
const pageSize = 20

// A world is what a kit meets: a Hub under its public name, and registries.
type world struct {
	caFile string
	models string // The Hub's folder.
	hub    *hub.Handler

	plain, secure *testRegistry
	closers       []func()
}

// newWorld starts servers on loopback and points the process's environment to
// them.
func newWorld(dir string) (*world, error) {
	w := &world{caFile: filepath.Join(dir, "ca.crt"), models: filepath.Join(dir, "hub")}
	if err := os.MkdirAll(filepath.Join(w.models, "models"), 0o750); err != nil {
		return nil, err
	}
	cert, err := newCertificate(w.caFile)
	if err != nil {
		return nil, err
	}
	w.hub = hub.NewHandler(w.models, hub.WithPageSize(pageSize))
	hubServer := w.serve(w.hub, cert)
	proxy := w.serve(&connectProxy{to: hubServer.Listener.Addr().String()}, nil)
	if w.plain, err = w.newRegistry(dir, nil); err != nil {
		return nil, err
	}
	if w.secure, err = w.newRegistry(dir, cert); err != nil {
		return nil, err
	}
	for _, kv := range [][2]string{
		{"HTTPS_PROXY", proxy.URL}, {"HTTP_PROXY", proxy.URL}, {"https_proxy", proxy.URL}, {"http_proxy", proxy.URL},
		{"NO_PROXY", ""}, {"no_proxy", ""}, {"SSL_CERT_FILE", ""}, {"SSL_CERT_DIR", ""},
	} {
		if err := os.Setenv(kv[0], kv[1]); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func (w *world) close() {
	for _, c := range slices.Backward(w.closers) {
		c()
	}
}

// serve serves on loopback, with TLS if there is a certificate.
func (w *world) serve(h http.Handler, cert *tls.Certificate) *httptest.Server {
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	w.closers = append(w.closers, func() { s.CloseClientConnections(); s.Close() })
	if cert == nil {
		s.Start()
		return s
	}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	return s
}

// newCertificate returns a certificate for all servers, and writes that of its
// authority to a file.
func newCertificate(caFile string) (*tls.Certificate, error) {
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	valid := func(serial int64, name string) *x509.Certificate {
		return &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		}
	}
	ca := valid(1, "contract test")
	ca.IsCA, ca.BasicConstraintsValid, ca.KeyUsage = true, true, x509.KeyUsageCertSign
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := valid(2, "huggingface.co")
	leaf.DNSNames, leaf.IPAddresses = []string{"huggingface.co"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	leaf.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	leafDER, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		return nil, err
	}
	out := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER})
	return &tls.Certificate{Certificate: [][]byte{leafDER}, PrivateKey: key}, os.WriteFile(caFile, out, 0o600)
}

// A connectProxy connects huggingface.co:443 to the Hub, and nothing
// else anywhere.
type connectProxy struct{ to string }

func (p *connectProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Host != "huggingface.co:443" {
		http.Error(w, "nothing leaves this machine", http.StatusForbidden)
		return
	}
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer server.Close()
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer client.Close()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		return
	}
	tunnel(client, buffered.Reader, server)
}

// tunnel passes bytes on in both directions until one of them ends.
func tunnel(client net.Conn, fromClient *bufio.Reader, server net.Conn) {
	done := make(chan struct{}, 2)
	pass := func(to io.Writer, from io.Reader) {
		_, _ = io.Copy(to, from)
		done <- struct{}{}
	}
	go pass(server, fromClient)
	go pass(client, server)
	<-done
}
