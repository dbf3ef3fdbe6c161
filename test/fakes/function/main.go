// Command function is a composition function that does what
// function-patch-and-transform does with the input that examples/compositions
// give it, and refuses what else that function can do. Tests run it where that
// one cannot be had.
package main

import (
	"flag"
	"fmt"
	"os"

	"github.com/crossplane/function-sdk-go"
)

func main() {
	address := flag.String("address", ":9443", "Where to listen.")
	insecure := flag.Bool("insecure", false, "Serve without certificates.")
	// Crossplane says where they are (xpkg specification, "Function runtime").
	certs := flag.String("tls-certs-dir", os.Getenv("TLS_SERVER_CERTS_DIR"), "Folder of the certificates.")
	flag.Parse()

	err := function.Serve(&Function{},
		function.Listen("tcp", *address), function.MTLSCertificates(*certs), function.Insecure(*insecure))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
