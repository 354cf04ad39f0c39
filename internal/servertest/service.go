package servertest

import "fmt"

// Service is a server in which locks may be kept.
type Service interface {
	// Kill ends it as a loss of power would, Start starts it again with its data, and StartEmpty without.
	Kill() error
	Start() error
	StartEmpty() error
	Close() error
}

// Services are the kinds of NewService.
func Services() []string { return []string{"redis", "etcd", "postgres"} }

// NewService starts a server of a kind, behind network if that is not nil, and returns the URL of its locks, whose leases are the shortest: tests wait for them to end.
func NewService(kind string, network *Net) (s Service, url string, err error) {
	switch kind {
	case "redis":
		p, err := NewRedis(network)
		if err != nil {
			return nil, "", err
		}
		return p, "redis://" + p.Address + "/?lease=2s", nil
	case "etcd":
		p, err := NewEtcd(network, false)
		if err != nil {
			return nil, "", err
		}
		return p, "etcd://" + p.Address + "/?lease=2s", nil
	case "postgres":
		p, err := NewPostgres(network)
		if err != nil {
			return nil, "", err
		}
		host := p.Dir
		if network != nil {
			host = network.Address
		}
		return p, "postgres://" + User + "@/postgres?lease=2s&host=" + host, nil
	}
	return nil, "", fmt.Errorf("there is no service of locks of the kind %q", kind)
}
