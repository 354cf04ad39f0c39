package etcd

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/runfold/runfold/compactor/lock"
)

// port is that of etcd's clients.
const port = "2379"

var errURL = errors.New("it is no URL of a lock in etcd: give etcd://[USER@]HOST[:PORT][,HOST[:PORT]...]/[?lease=30s&cacert=FILE&cert=FILE&key=FILE&tls=on&password-file=FILE], with %40 for @ in the name of a file")

var options = []string{"lease", "cacert", "cert", "key", "tls", "password-file"}

// Open makes a provider of a URL, such as etcd://compactor@a.example:2379,b.example:2379/?cacert=/etc/etcd/ca.pem. It sends nothing. The hosts are members of one
// etcd, and any of them will do. The options are
//
//	lease          how long a lock lasts that is not renewed, such as 30s: whole seconds, other times are rounded up
//	cacert         the file with the certificates that sign those of the members. If it is not given, those of the system
//	cert, key      the files with our certificate and its key. They are read again for each connection
//	tls            on: the members are reached by TLS, as they are if cacert or cert is given
//	password-file  the file with the password of the user
//
// Without such a file the password comes from ETCDCTL_PASSWORD, and if there is no user in the URL, from ETCDCTL_USER as USER or USER:PASSWORD, as for etcdctl. A URL with
// a password is lock.ErrPassword. No error has a part of the URL that could be one.
func Open(address string) (*lock.Leases, error) {
	name, hosts, q, err := parse(address)
	if err != nil {
		return nil, err
	}
	for option := range q {
		if option == "password" {
			return nil, errPassword
		}
		if !slices.Contains(options, option) || len(q[option]) > 1 {
			return nil, fmt.Errorf("the URL of a lock in etcd has each of %s at most once, and nothing else: %q", strings.Join(options, ", "), option)
		}
	}
	p := &lock.Leases{Kind: "etcd", Where: strings.Join(hosts, ",")}
	if q.Has("lease") {
		if p.TTL, err = lock.ParseLease(q.Get("lease")); err != nil {
			return nil, err
		}
	}
	config, err := secure(q)
	if err != nil {
		return nil, err
	}
	login, err := user(name, q.Get("password-file"))
	if err != nil {
		return nil, err
	}
	p.Service, err = dial(hosts, config, login)
	return p, err
}

var errPassword = fmt.Errorf("%w: set ETCDCTL_PASSWORD, or give password-file=FILE", lock.ErrPassword)

// parse takes a URL apart. Package net/url takes only one host with a port.
func parse(address string) (name string, hosts []string, q url.Values, err error) {
	rest, ok := strings.CutPrefix(address, "etcd://")
	end := len(rest)
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		end = i
	}
	list, tail := rest[:end], strings.TrimPrefix(rest[end:], "/")
	if at := strings.LastIndex(list, "@"); at >= 0 {
		if strings.Contains(list[:at], ":") {
			return "", nil, nil, errPassword
		}
		if name, err = url.PathUnescape(list[:at]); err != nil || name == "" {
			return "", nil, nil, errURL
		}
		list = list[at+1:]
	}
	if !ok || tail != "" && tail[0] != '?' || strings.ContainsAny(tail, "@#") { // with an @ it may be the end of a password
		return "", nil, nil, errURL
	}
	for _, host := range strings.Split(list, ",") {
		if host, err = member(host); err != nil {
			return "", nil, nil, err
		}
		hosts = append(hosts, host)
	}
	if q, err = url.ParseQuery(strings.TrimPrefix(tail, "?")); err != nil {
		return "", nil, nil, errURL
	}
	return name, hosts, q, nil
}

// member is host and port of a member.
func member(text string) (string, error) {
	host, number, err := net.SplitHostPort(text)
	if err != nil { // without a port
		host, number, err = net.SplitHostPort(text + ":" + port)
	}
	n, notNumber := strconv.ParseUint(number, 10, 16)
	if err != nil || notNumber != nil || n == 0 || host == "" || strings.ContainsAny(host, "%\\ \t\r\n\"<>") || strings.Contains(host, ":") && net.ParseIP(host) == nil {
		return "", errURL
	}
	return net.JoinHostPort(host, number), nil
}

// secure is how the members are reached; nil: without TLS.
func secure(q url.Values) (*tls.Config, error) {
	cacert, cert, key := q.Get("cacert"), q.Get("cert"), q.Get("key")
	switch {
	case q.Has("tls") && q.Get("tls") != "on":
		return nil, fmt.Errorf("tls=%s: give tls=on, or leave it away", q.Get("tls"))
	case !q.Has("tls") && cacert+cert+key == "":
		return nil, nil
	}
	return lock.ClientTLS(cacert, cert, key)
}

// user is what we say who we are; nil: nothing, or what our certificate says.
func user(name, file string) (*pb.AuthenticateRequest, error) {
	known, password, _ := strings.Cut(os.Getenv("ETCDCTL_USER"), ":")
	name = cmp.Or(name, known)
	if name != known {
		password = "" // of another user
	}
	password = cmp.Or(os.Getenv("ETCDCTL_PASSWORD"), password)
	if file != "" {
		var err error
		if password, err = lock.ReadPassword(file); err != nil {
			return nil, err
		}
	}
	switch {
	case name == "" && file != "":
		return nil, errors.New("password-file= needs a user: give etcd://USER@HOST")
	case name == "":
		return nil, nil
	case password == "":
		return nil, fmt.Errorf("there is no password of user %s of etcd: set ETCDCTL_PASSWORD, or give password-file=FILE", name)
	}
	return &pb.AuthenticateRequest{Name: name, Password: password}, nil
}
