package supervisor

import (
	"context"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
	"github.com/crossplane-contrib/provider-kitops/test/fakes/hub"
)

// runHub serves the folder of models, by HTTP and as huggingface.co by HTTPS.
// Large files come from another address, as they do there.
func (s *supervisor) runHub(ctx context.Context) error {
	f, err := os.OpenFile(state(filepath.Join(layout.Logs, "hub.log")), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return errors.Wrap(err, "cannot make a log for the Hub")
	}
	logger := log.New(f, "", log.LstdFlags|log.Lmicroseconds)
	server := &http.Server{
		Handler: hub.NewHandler(state(layout.Hub), hub.WithCDN(layout.CDN), hub.WithRequestLog(func(r hub.Request) {
			logger.Printf("%s %s", r.Method, r.Path)
		})),
		ErrorLog:          logger,
		ReadHeaderTimeout: 10 * time.Second,
	}
	plain, err := s.listen(ctx, layout.HubHTTP)
	if err != nil {
		return err
	}
	secure, err := s.listen(ctx, layout.HubHTTPS)
	if err != nil {
		return err
	}
	pki := state(layout.PKI)
	go func() { logger.Print(server.Serve(plain)) }()
	go func() { logger.Print(server.ServeTLS(secure, pki+"/hub.crt", pki+"/hub.key")) }()
	s.step("the Hub is ready")
	return nil
}

// listen listens at the port of address on all addresses of the namespace: the
// CDN's is not the Hub's.
func (s *supervisor) listen(ctx context.Context, address string) (net.Listener, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, errors.Wrap(err, "cannot read the Hub's address")
	}
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp4", ":"+port)
	return l, errors.Wrap(err, "cannot listen for the Hub")
}
