// Package pki makes the keys and certificates of a throw-away cluster.
package pki

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
)

// lifetime is how long a certificate holds. A throw-away cluster does not
// outlive it.
const lifetime = 365 * 24 * time.Hour

// An Authority signs certificates and keeps them in a directory, as NAME.crt
// and NAME.key.
type Authority struct {
	dir  string
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// A Subject is whom a certificate is for.
type Subject struct {
	CommonName   string
	Organization []string
	Names        []string // DNS names of a server
	IPs          []string // addresses of a server
}

// New makes an authority that keeps its files in dir: its own certificate is
// ca.crt there.
func New(dir string) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, errors.Wrap(err, "cannot make the directory of certificates")
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, errors.Wrap(err, "cannot make the authority's key")
	}
	template, err := newTemplate(Subject{CommonName: "provider-kitops local cluster"})
	if err != nil {
		return nil, err
	}
	template.IsCA, template.BasicConstraintsValid = true, true
	template.KeyUsage = x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature
	template.ExtKeyUsage = nil
	a := &Authority{dir: dir, key: key, cert: template}
	der, err := a.sign("ca", template, key)
	if err != nil {
		return nil, err
	}
	a.cert, err = x509.ParseCertificate(der)
	return a, errors.Wrap(err, "cannot read the authority's certificate")
}

// Issue makes a key and a certificate for server and client use.
func (a *Authority) Issue(name string, s Subject) error {
	template, err := newTemplate(s)
	if err != nil {
		return err
	}
	key, err := a.Key(name)
	if err != nil {
		return err
	}
	_, err = a.sign(name, template, key)
	return err
}

// Key makes a key alone, as NAME.key.
func (a *Authority) Key(name string) (*ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot make the key %s", name)
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot encode the key %s", name)
	}
	return key, a.write(name+".key", "EC PRIVATE KEY", der, 0o600)
}

// sign signs template and writes it as NAME.crt.
func (a *Authority) sign(name string, template *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, errors.Wrapf(err, "cannot sign the certificate %s", name)
	}
	return der, a.write(name+".crt", "CERTIFICATE", der, 0o644)
}

func (a *Authority) write(file, kind string, der []byte, mode os.FileMode) error {
	data := pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
	return errors.Wrapf(os.WriteFile(filepath.Join(a.dir, file), data, mode), "cannot write %s", file)
}

// newTemplate is a certificate for s, yet to be signed.
func newTemplate(s Subject) (*x509.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, errors.Wrap(err, "cannot make a serial number")
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial,
		Subject:      pkix.Name{CommonName: s.CommonName, Organization: s.Organization},
		NotBefore:    now.Add(-time.Hour), // Clocks differ.
		NotAfter:     now.Add(lifetime),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     s.Names,
	}
	for _, ip := range s.IPs {
		c.IPAddresses = append(c.IPAddresses, net.ParseIP(ip))
	}
	return c, nil
}
