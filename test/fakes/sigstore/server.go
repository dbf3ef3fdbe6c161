package sigstore

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"
	"github.com/digitorus/timestamp"
	"github.com/secure-systems-lab/go-securesystemslib/dsse"
	"github.com/sigstore/sigstore-go/pkg/root"
	"github.com/sigstore/sigstore-go/pkg/testing/ca"
	"github.com/sigstore/sigstore-go/pkg/tlog"
)

// Audience that Fulcio demands of tokens.
const Audience = "sigstore"

// Faults make a Server misbehave.
type Faults struct {
	// FulcioStatus, RekorStatus and TimestampStatus are answered in place of a success,
	// unless they are 0.
	FulcioStatus, RekorStatus, TimestampStatus int

	// OtherKey has Fulcio certify a key that nobody has.
	OtherKey bool

	// TooLong has all answers be longer than any that is of use.
	TooLong bool

	// Nonsense has all answers be no JSON.
	Nonsense bool
}

// A Server speaks the HTTP APIs of a Sigstore: Fulcio v2, Rekor v1 and RFC 3161.
type Server struct {
	*Sigstore

	// URL of all services.
	URL string

	authority *x509.Certificate
	key       crypto.Signer
	root      *x509.Certificate
	tsa       *root.SigstoreTimestampingAuthority
	tsaKey    *ecdsa.PrivateKey

	mu     sync.Mutex
	faults Faults
	asked  []string
}

// Start starts a Server, which ends with the test.
func Start(t testing.TB) *Server {
	t.Helper()
	s := &Server{Sigstore: New(t)}
	s.must(s.makeAuthorities())
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	s.URL = server.URL
	s.more = func(fulcio []root.CertificateAuthority, tsa []root.TimestampingAuthority) ([]root.CertificateAuthority, []root.TimestampingAuthority) {
		now := time.Now()
		return append(fulcio, &root.FulcioCertificateAuthority{
				Root: s.root, Intermediates: []*x509.Certificate{s.authority}, URI: s.URL,
				ValidityPeriodStart: now.Add(-time.Hour), ValidityPeriodEnd: now.Add(time.Hour),
			}),
			append(tsa, s.tsa)
	}
	return s
}

func (s *Server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// makeAuthorities makes the certificates of Fulcio and of the timestamp authority.
func (s *Server) makeAuthorities() error {
	rootCert, rootKey, err := ca.GenerateRootCa()
	if err != nil {
		return err
	}
	intermediate, key, err := ca.GenerateFulcioIntermediate(rootCert, rootKey)
	if err != nil {
		return err
	}
	s.root, s.authority, s.key = rootCert, intermediate, key
	tsaIntermediate, tsaIntermediateKey, err := ca.GenerateTSAIntermediate(rootCert, rootKey)
	if err != nil {
		return err
	}
	if s.tsaKey, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		return err
	}
	now := time.Now()
	leaf, err := ca.GenerateTSALeafCert(now.Add(-5*time.Minute), s.tsaKey, tsaIntermediate, tsaIntermediateKey)
	s.tsa = &root.SigstoreTimestampingAuthority{
		Root: rootCert, Intermediates: []*x509.Certificate{tsaIntermediate}, Leaf: leaf, URI: "https://tsa.localhost",
		ValidityPeriodStart: now.Add(-time.Hour), ValidityPeriodEnd: now.Add(time.Hour),
	}
	return err
}

// Misbehave has the Server have these faults from now on.
func (s *Server) Misbehave(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// Asked returns the paths of all requests so far.
func (s *Server) Asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// Token returns a token of a ServiceAccount of Issuer, which is not signed: the Server
// believes all.
func Token(namespace, name, audience string, expires time.Time) string {
	claims, _ := json.Marshal(map[string]any{ //nolint:errchkjson // Of texts and a number.
		"iss": Issuer, "aud": []string{audience}, "exp": expires.Unix(),
		"sub":           "system:serviceaccount:" + namespace + ":" + name,
		"kubernetes.io": map[string]any{"namespace": namespace, "serviceaccount": map[string]string{"name": name}},
	})
	return "e30." + base64.RawURLEncoding.EncodeToString(claims) + ".c2ln"
}

// Subject returns what Fulcio's certificates name for a ServiceAccount
// (https://github.com/sigstore/fulcio/blob/main/docs/oidc.md).
func Subject(namespace, name string) string {
	return "https://kubernetes.io/namespaces/" + namespace + "/serviceaccounts/" + name
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, r.URL.Path)
	f := s.faults
	s.mu.Unlock()
	b, err := io.ReadAll(io.LimitReader(r.Body, 4<<20))
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	status := map[string]int{"/api/v2/signingCert": f.FulcioStatus, "/api/v1/log/entries": f.RekorStatus, "/api/v1/timestamp": f.TimestampStatus}[r.URL.Path]
	switch {
	case status/100 == 3:
		w.Header().Set("Location", "http://169.254.169.254/")
		fallthrough
	case status != 0:
		http.Error(w, "a fault", status)
		return
	case f.TooLong:
		_, _ = io.WriteString(w, strings.Repeat("x", 2<<20))
		return
	case f.Nonsense:
		_, _ = io.WriteString(w, "nonsense")
		return
	}
	switch r.URL.Path {
	case "/api/v2/signingCert":
		err = s.certify(w, strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "), b, f)
	case "/api/v1/log/entries":
		err = s.log(w, b)
	case "/api/v1/timestamp":
		err = s.timestamp(w, b)
	default:
		http.NotFound(w, r)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
	}
}

// subjectOf returns what a token is for. It returns an error for one that Fulcio refuses.
func subjectOf(token string) (claimed, subject string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", "", errors.New("no token")
	}
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return "", "", err
	}
	var claims struct {
		Audience   []string `json:"aud"`
		Expires    int64    `json:"exp"`
		Subject    string   `json:"sub"`
		Kubernetes struct {
			Namespace      string `json:"namespace"`
			ServiceAccount struct {
				Name string `json:"name"`
			} `json:"serviceaccount"`
		} `json:"kubernetes.io"`
	}
	if err := json.Unmarshal(b, &claims); err != nil {
		return "", "", err
	}
	if !slices.Contains(claims.Audience, Audience) || time.Now().Unix() > claims.Expires {
		return "", "", errors.New("there was an error processing the identity token")
	}
	return claims.Subject, Subject(claims.Kubernetes.Namespace, claims.Kubernetes.ServiceAccount.Name), nil
}

// certify answers a request for a certificate.
func (s *Server) certify(w http.ResponseWriter, token string, body []byte, f Faults) error {
	claimed, subject, err := subjectOf(token)
	if err != nil {
		return err
	}
	var asked struct {
		Request struct {
			Key struct {
				Content string `json:"content"`
			} `json:"publicKey"`
			Proof []byte `json:"proofOfPossession"`
		} `json:"publicKeyRequest"`
	}
	if err := json.Unmarshal(body, &asked); err != nil {
		return err
	}
	block, _ := pem.Decode([]byte(asked.Request.Key.Content))
	if block == nil {
		return errors.New("no key")
	}
	parsed, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return err
	}
	public, ok := parsed.(*ecdsa.PublicKey)
	sum := sha256.Sum256([]byte(claimed))
	if !ok || !ecdsa.VerifyASN1(public, sum[:], asked.Request.Proof) {
		return errors.New("no proof of possession")
	}
	if f.OtherKey {
		other, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return err
		}
		public = &other.PublicKey
	}
	leaf, err := s.issue(subject, public)
	if err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(map[string]any{"signedCertificateEmbeddedSct": map[string]any{
		"chain": map[string]any{"certificates": []string{leaf}},
	}})
}

// issue returns a certificate in PEM.
func (s *Server) issue(subject string, public *ecdsa.PublicKey) (string, error) {
	u, err := url.Parse(subject)
	if err != nil {
		return "", err
	}
	issuer, err := asn1.MarshalWithParams(Issuer, "utf8")
	if err != nil {
		return "", err
	}
	der, err := x509.CreateCertificate(rand.Reader, &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), URIs: []*url.URL{u},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(10 * time.Minute),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageCodeSigning},
		// https://github.com/sigstore/fulcio/blob/main/docs/oid-info.md
		ExtraExtensions: []pkix.Extension{
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 1}, Value: []byte(Issuer)},
			{Id: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 1, 8}, Value: issuer},
		},
	}, s.authority, public, s.key)
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})), err
}

// log answers a request to add an entry of kind dsse.
func (s *Server) log(w http.ResponseWriter, body []byte) error {
	var proposed struct {
		Kind string `json:"kind"`
		Spec struct {
			Content struct {
				Envelope  string   `json:"envelope"`
				Verifiers [][]byte `json:"verifiers"`
			} `json:"proposedContent"`
		} `json:"spec"`
	}
	var envelope dsse.Envelope
	if err := json.Unmarshal(body, &proposed); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(proposed.Spec.Content.Envelope), &envelope); err != nil {
		return err
	}
	if proposed.Kind != "dsse" || len(proposed.Spec.Content.Verifiers) != 1 || len(envelope.Signatures) != 1 {
		return errors.New("no entry of kind dsse with one signature")
	}
	block, _ := pem.Decode(proposed.Spec.Content.Verifiers[0])
	if block == nil {
		return errors.New("no certificate")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return err
	}
	sig, err := base64.StdEncoding.DecodeString(envelope.Signatures[0].Sig)
	if err != nil {
		return err
	}
	entry, err := s.vs.GenerateTlogEntry(leaf, &envelope, sig, time.Now().Unix(), true)
	if err != nil {
		return err
	}
	e := entry.TransparencyLogEntry()
	promise, err := s.vs.RekorSignPayload(tlog.RekorPayload{
		Body: base64.StdEncoding.EncodeToString(e.GetCanonicalizedBody()), IntegratedTime: e.GetIntegratedTime(),
		LogIndex: e.GetLogIndex(), LogID: hex.EncodeToString(e.GetLogId().GetKeyId()),
	})
	if err != nil {
		return err
	}
	hashes := make([]string, 0, len(e.GetInclusionProof().GetHashes()))
	for _, h := range e.GetInclusionProof().GetHashes() {
		hashes = append(hashes, hex.EncodeToString(h))
	}
	id := fmt.Sprintf("%064x", sha256.Sum256(body))
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Etag", id)
	w.WriteHeader(http.StatusCreated)
	return json.NewEncoder(w).Encode(map[string]any{id: map[string]any{
		"body": base64.StdEncoding.EncodeToString(e.GetCanonicalizedBody()), "integratedTime": e.GetIntegratedTime(),
		"logID": hex.EncodeToString(e.GetLogId().GetKeyId()), "logIndex": e.GetLogIndex(),
		"verification": map[string]any{
			"signedEntryTimestamp": base64.StdEncoding.EncodeToString(promise),
			"inclusionProof": map[string]any{
				"checkpoint": e.GetInclusionProof().GetCheckpoint().GetEnvelope(), "hashes": hashes,
				"logIndex": e.GetInclusionProof().GetLogIndex(), "treeSize": e.GetInclusionProof().GetTreeSize(),
				"rootHash": hex.EncodeToString(e.GetInclusionProof().GetRootHash()),
			},
		},
	}})
}

// timestamp answers a request for a timestamp.
func (s *Server) timestamp(w http.ResponseWriter, body []byte) error {
	asked, err := timestamp.ParseRequest(body)
	if err != nil {
		return err
	}
	stamp := timestamp.Timestamp{
		HashAlgorithm: asked.HashAlgorithm, HashedMessage: asked.HashedMessage, Nonce: asked.Nonce, Time: time.Now(),
		Policy: asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 57264, 2},
	}
	answer, err := stamp.CreateResponseWithOpts(s.tsa.Leaf, s.tsaKey, crypto.SHA256)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/timestamp-reply")
	_, err = w.Write(answer)
	return err
}
