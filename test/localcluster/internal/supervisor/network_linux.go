package supervisor

import (
	"context"
	"net"
	"os"
	"os/exec"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/crossplane/crossplane-runtime/v2/pkg/errors"

	"github.com/crossplane-contrib/provider-kitops/test/cluster/layout"
)

// makeNetwork gives the network namespace its addresses: a veth pair, both ends
// inside, for the node's address (not every kernel has dummy devices),
// and the way from the API server's Service to the API server.
func makeNetwork(ctx context.Context) error {
	if err := unix.Sethostname([]byte(layout.NodeName)); err != nil {
		return errors.Wrap(err, "cannot set the host's name")
	}
	// The pods reach each other and the node over IPv4 alone.
	for file, value := range map[string]string{
		"/proc/sys/net/ipv4/ip_forward":                "1",
		"/proc/sys/net/ipv6/conf/all/disable_ipv6":     "1",
		"/proc/sys/net/ipv6/conf/default/disable_ipv6": "1",
	} {
		if err := os.WriteFile(file, []byte(value), 0o644); err != nil && !errors.Is(err, os.ErrNotExist) {
			return errors.Wrapf(err, "cannot set %s", file)
		}
	}
	_, port, err := net.SplitHostPort(layout.APIServer)
	if err != nil {
		return errors.Wrap(err, "cannot read the API server's address")
	}
	dnat := " --protocol tcp --destination " + layout.APIServiceIP + " --dport 443 --jump DNAT --to-destination " + layout.NodeIP + ":" + port
	for _, line := range []string{
		"ip link set lo up",
		"ip link add node0 type veth peer name node1",
		"ip address add " + layout.NodeIP + "/" + layout.NodeSubnetBits + " dev node0",
		"ip address add " + layout.CDN + "/" + layout.NodeSubnetBits + " dev node0",
		"ip link set node0 up",
		"ip link set node1 up",
		"ip route add default dev node0",
		"iptables --wait --table nat --append PREROUTING" + dnat,
		"iptables --wait --table nat --append OUTPUT" + dnat,
	} {
		args := strings.Fields(line)
		if out, err := exec.CommandContext(ctx, args[0], args[1:]...).CombinedOutput(); err != nil {
			return errors.Wrapf(err, "cannot set up the network: %s: %s", line, strings.TrimSpace(string(out)))
		}
	}
	return nil
}
