package etcd_test

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
	"os"
	"path/filepath"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc/credentials"

	"github.com/runfold/runfold/compactor/lock"
)

// secret makes a file with a password.
func secret(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestUsers has users with and without the right, and tokens that end.
func TestUsers(t *testing.T) {
	t.Parallel()
	s := start(t, nil, false, "--auth-token-ttl", "1", "--bcrypt-cost", "4")
	ctl := control(t, s.Address, nil)
	right := secret(t, password+"\n")
	hold := claim(t, open(t, "etcd://compactor@"+s.Address+"/?password-file="+right), "a")
	take(t, hold) // a user is no fault where etcd asks for none
	ctl.enableAuth(t)
	renew(t, hold, true)

	for _, test := range []struct{ user, file, says string }{
		{"", "", "etcdserver: user name is empty"},
		{"compactor@", secret(t, "wr@ng"), "authentication failed, invalid user ID or password"},
		{"nobody@", right, "authentication failed, invalid user ID or password"},
		{"other@", right, "etcdserver: permission denied"},
	} {
		url := "etcd://" + test.user + s.Address
		if test.file != "" {
			url += "?password-file=" + test.file
		}
		p := open(t, url)
		c := claim(t, p, "b")
		_, _, err := c.Take(t.Context())
		isRefused(t, "Take of "+test.user, err, test.says)
		_, err = p.Service.Holder(t.Context(), t.Name())
		isRefused(t, "Holder of "+test.user, err, test.says)
		_, err = p.Locker(lock.Options{RootID: t.Name(), Wait: time.Hour}).Lock(t.Context())
		isRefused(t, "Lock of "+test.user, err, test.says)
	}
	// One who may read knows who holds the lock, and cannot take it.
	reader := open(t, "etcd://reader@"+s.Address+"?password-file="+right)
	if words, err := reader.Service.Holder(t.Context(), t.Name()); words != "program a\n" || err != nil {
		t.Errorf("Holder = %q, %v", words, err)
	}
	_, _, err := reader.Service.Claim("another root", "b", "", 30*time.Second).Take(t.Context())
	isRefused(t, "Take of a reader", err, "etcdserver: permission denied")

	// A token ends with its time, with the server, and when rights are changed.
	free := control(t, address(t), nil) // no request of it keeps a token alive
	free.wait(t, 3)
	renew(t, hold, true)
	if _, err := ctl.RoleAdd(ctl.root(t), &pb.AuthRoleAddRequest{Name: "new"}); err != nil {
		t.Fatal(err)
	}
	renew(t, hold, true)
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	_, err = hold.Renew(t.Context())
	isAway(t, "Renew without a server", err, "")
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	until(t, "the lock is not renewed", func() bool { ours, err := hold.Renew(t.Context()); return ours && err == nil })
	release(t, hold)
	take(t, hold)

	// The user is removed while it holds the lock.
	if _, err := ctl.UserDelete(ctl.root(t), &pb.AuthUserDeleteRequest{Name: "compactor"}); err != nil {
		t.Fatal(err)
	}
	_, err = hold.Renew(t.Context())
	isRefused(t, "Renew of a user that is gone", err, "authentication failed, invalid user ID or password")
}

// TestEnvironment takes user and password from where etcdctl takes them.
func TestEnvironment(t *testing.T) {
	s := start(t, nil, false, "--bcrypt-cost", "4")
	control(t, s.Address, nil).enableAuth(t)
	for _, test := range []struct{ url, user, password string }{
		{"etcd://compactor@", "", password},
		{"etcd://", "compactor", password},
		{"etcd://", "compactor:" + password, ""},
		{"etcd://compactor@", "compactor:" + password, ""},
		{"etcd://compactor@", "root:other", password},
	} {
		t.Setenv("ETCDCTL_USER", test.user)
		t.Setenv("ETCDCTL_PASSWORD", test.password)
		c := claim(t, open(t, test.url+s.Address), "a")
		take(t, c)
		release(t, c)
	}
}

// TestNoSpace has an etcd whose database is full. It can be made smaller, so that a later try may do.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	s := start(t, nil, false, "--quota-backend-bytes", "1")
	_, _, err := claim(t, open(t, "etcd://"+s.Address), "a").Take(t.Context())
	isAway(t, "Take", err, "etcdserver: mvcc: database space exceeded")
}

// authority signs certificates.
type authority struct {
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{}
	a.file, _ = a.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "authority of a test"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign makes a certificate, and the first one for itself.
func (a *authority) sign(t *testing.T, c *x509.Certificate) (cert, key string) {
	t.Helper()
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if a.key == nil {
		a.cert, a.key = c, private
	}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, private.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for name, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: text}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// TestTLS has an etcd that speaks TLS with those only who have a certificate of its authority.
func TestTLS(t *testing.T) {
	t.Parallel()
	ours, theirs := newAuthority(t), newAuthority(t)
	serverCert, serverKey := ours.sign(t, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	cert, key := ours.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "compactor"}})
	badCert, badKey := theirs.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "compactor"}})
	s := start(t, nil, true, "--cert-file", serverCert, "--key-file", serverKey, "--client-cert-auth", "--trusted-ca-file", ours.file, "--bcrypt-cost", "4")
	_, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	us := "&cert=" + cert + "&key=" + key

	for _, test := range []struct{ url, says string }{
		{s.Address + "?cacert=" + ours.file, "remote error: tls: "},
		{s.Address + "?cacert=" + ours.file + "&cert=" + badCert + "&key=" + badKey, "remote error: tls: "},
		{s.Address + "?cacert=" + theirs.file + us, "x509: certificate signed by unknown authority"},
		{s.Address + "?tls=on" + us, "x509: certificate signed by unknown authority"},
		{"localhost:" + port + "?cacert=" + ours.file + us, "x509: certificate is not valid for any names, but wanted to match localhost"},
	} {
		_, _, err := claim(t, open(t, "etcd://"+test.url), "a").Take(t.Context())
		isRefused(t, "Take at "+test.url, err, test.says)
	}
	_, _, err = claim(t, open(t, "etcd://"+s.Address), "a").Take(t.Context())
	isAway(t, "Take without TLS", err, "so does a server that wants TLS")
	_, _, err = claim(t, open(t, "etcd://"+address(t)+"?tls=on"), "a").Take(t.Context())
	isAway(t, "Take with TLS of a server without", err, "so does a server without TLS")

	// The certificate says who we are. Rights of others do not matter.
	c := claim(t, open(t, "etcd://"+s.Address+"?cacert="+ours.file+us), "a")
	take(t, c)
	pair, err := tls.LoadX509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	control(t, s.Address, credentials.NewTLS(&tls.Config{Certificates: []tls.Certificate{pair}, InsecureSkipVerify: true})).enableAuth(t)
	renew(t, c, true)
	release(t, c)
	take(t, c)
	otherCert, otherKey := ours.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "other"}})
	other := "etcd://" + s.Address + "?cacert=" + ours.file + "&cert=" + otherCert + "&key=" + otherKey
	_, err = open(t, other).Service.Holder(t.Context(), t.Name())
	isRefused(t, "Holder of the user other", err, "etcdserver: permission denied")
	// With a user in the URL, that is who we are.
	asUser := "etcd://compactor@" + s.Address + "?cacert=" + ours.file + "&cert=" + otherCert + "&key=" + otherKey + "&password-file=" + secret(t, password)
	if words, err := open(t, asUser).Service.Holder(t.Context(), t.Name()); words != "program a\n" || err != nil {
		t.Errorf("Holder = %q, %v", words, err)
	}
}
