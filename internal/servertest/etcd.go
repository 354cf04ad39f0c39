package servertest

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
)

// NewEtcd starts an etcd of one member. args are options of etcd, such as "--client-cert-auth". tls says that clients come with TLS; then args have the certificate. If
// network is not nil, it is reached at Net.Address, behind that link.
func NewEtcd(network *Net, tls bool, args ...string) (*Process, error) {
	p, err := newProcess("etcd", "etcd-server", network)
	if err != nil {
		return nil, err
	}
	peer, err := free("127.0.0.1")
	if err != nil {
		return nil, err
	}
	scheme := "http://"
	if tls {
		scheme = "https://"
	}
	data := filepath.Join(p.Dir, "data")
	p.ready = "ready to serve client requests"
	p.empty = func() error { return os.RemoveAll(data) }
	p.start = func() *exec.Cmd {
		return exec.Command("etcd", append([]string{
			"--data-dir", data, "--listen-client-urls", scheme + p.Address, "--advertise-client-urls", scheme + p.Address,
			"--listen-peer-urls", "http://" + peer, "--initial-advertise-peer-urls", "http://" + peer, "--initial-cluster", "default=http://" + peer,
		}, args...)...)
	}
	if err = p.Start(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(p.Dir))
	}
	return p, nil
}
