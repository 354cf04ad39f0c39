package servertest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// ErrNoIP reports that the program ip is not installed.
var ErrNoIP = errors.New("there is no ip (Debian has it in iproute2)")

// ErrNoNet reports that this machine does not let us make a network: we are not root, or in a container without CAP_NET_ADMIN and CAP_SYS_ADMIN.
var ErrNoNet = errors.New("this machine does not let us make a network (ip netns add)")

// Net is a network of one link, between this process and a namespace.
type Net struct {
	Address string // that of the server
	name    string // of the namespace
	near    end    // ours
	far     end
}

// end is an end of the link.
type end struct{ device, address, mac string }

// nowhere is the address of no card.
const nowhere = "02:00:00:ff:ff:ff"

// NewNet makes a network.
func NewNet() (*Net, error) {
	if _, err := exec.LookPath("ip"); err != nil {
		return nil, ErrNoIP
	}
	id := os.Getpid() % (1 << 15) // two tests at once have two networks, of those that are for tests (RFC 2544)
	at := func(host int) string { return fmt.Sprintf("198.%d.%d.%d", 18+id>>14, id>>6&255, id<<2&255+host) }
	n := &Net{Address: at(2), name: fmt.Sprint("runfold-", id), near: end{fmt.Sprint("rfn", id), at(1), "02:00:00:00:00:01"}, far: end{fmt.Sprint("rff", id), at(2), "02:00:00:00:00:02"}}
	err := ip("netns", "add", n.name)
	if err != nil && strings.Contains(err.Error(), "File exists") { // a test was killed that had our number
		n.Close()
		err = ip("netns", "add", n.name)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoNet, err)
	}
	err = ip("link", "add", n.near.device, "address", n.near.mac, "type", "veth", "peer", "name", n.far.device, "address", n.far.mac, "netns", n.name)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrNoNet, err), ip("netns", "del", n.name))
	}
	err = errors.Join(ip("addr", "add", n.near.address+"/30", "dev", n.near.device), ip("link", "set", n.near.device, "up"),
		ip("-n", n.name, "addr", "add", n.far.address+"/30", "dev", n.far.device), ip("-n", n.name, "link", "set", n.far.device, "up"),
		ip("-n", n.name, "link", "set", "lo", "up"), n.Mend())
	if err != nil {
		return nil, errors.Join(err, n.Close())
	}
	return n, nil
}

// Cut makes packets vanish, in one direction or in both. No end is told: they go to a card that is not there.
func (n *Net) Cut(toServer, fromServer bool) error {
	var there, back error
	if toServer {
		there = ip("neigh", "replace", n.far.address, "lladdr", nowhere, "dev", n.near.device, "nud", "permanent")
	}
	if fromServer {
		back = ip("-n", n.name, "neigh", "replace", n.near.address, "lladdr", nowhere, "dev", n.far.device, "nud", "permanent")
	}
	return errors.Join(there, back)
}

// Command is a program that runs on the side of the server. ip becomes it, so a signal reaches it.
func (n *Net) Command(name string, args ...string) *exec.Cmd {
	return exec.Command("ip", append([]string{"netns", "exec", n.name, name}, args...)...)
}

// Mend ends every cut.
func (n *Net) Mend() error {
	return errors.Join(ip("neigh", "replace", n.far.address, "lladdr", n.far.mac, "dev", n.near.device, "nud", "permanent"),
		ip("-n", n.name, "neigh", "replace", n.near.address, "lladdr", n.near.mac, "dev", n.far.device, "nud", "permanent"))
}

// Close removes the network. The link goes first: a namespace is gone some time after it was removed.
func (n *Net) Close() error {
	return errors.Join(ip("link", "del", n.near.device), ip("netns", "del", n.name))
}

func ip(args ...string) error {
	if out, err := exec.Command("ip", args...).CombinedOutput(); err != nil {
		return fmt.Errorf("ip %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
