package registry

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// ProxiedHost is a name that the certificates of registries with TLS are good
// for and that no resolver knows: only a proxy can connect to it.
const ProxiedHost = "registry.test"

// An identity is a private authority with what it signed.
type identity struct {
	ca                           []byte
	server                       tls.Certificate
	clientCertificate, clientKey []byte
}

func newIdentity() (*identity, error) {
	root := template(1, "test authority")
	root.IsCA, root.BasicConstraintsValid = true, true
	root.KeyUsage = x509.KeyUsageCertSign
	signer, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, root, root, signer.Public(), signer)
	if err != nil {
		return nil, err
	}
	id := &identity{ca: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}

	server := template(2, "test registry")
	server.DNSNames, server.IPAddresses = []string{"localhost", ProxiedHost}, []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	server.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	certificate, key, err := signed(server, root, signer)
	if err != nil {
		return nil, err
	}
	if id.server, err = tls.X509KeyPair(certificate, key); err != nil {
		return nil, err
	}
	client := template(3, "test client")
	client.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	id.clientCertificate, id.clientKey, err = signed(client, root, signer)
	return id, err
}

func template(serial int64, name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(serial),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
		KeyUsage:     x509.KeyUsageDigitalSignature,
	}
}

// signed returns a certificate and its key, in PEM.
func signed(c, root *x509.Certificate, signer *ecdsa.PrivateKey) (certificate, key []byte, err error) {
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.CreateCertificate(rand.Reader, c, root, own.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), nil
}
