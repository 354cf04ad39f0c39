package postgres_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/servertest"
)

// newFar is a server behind a link that can be cut.
func newFar(t *testing.T) (place, *servertest.Net) {
	t.Helper()
	shared.Need(t)
	link, err := servertest.NewNet()
	if err != nil {
		servertest.Skip(t, err)
	}
	s, err := servertest.NewPostgres(link)
	if err != nil {
		t.Fatal(errors.Join(err, link.Close()))
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return place{s, "far"}, link
}

// TestFar has a server whose link is cut, at first without and then with a connection, and one that has TLS and one that has not.
func TestFar(t *testing.T) {
	at, link := newFar(t)
	url := fmt.Sprintf("postgres://%s@%s/postgres?schema=%s", servertest.User, link.Address, at.schema)
	cut := func(p *lock.Leases, want string) {
		t.Helper()
		if err := link.Cut(true, true); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		if _, _, err := claim(p, "a").Take(ctx); err == nil || errors.Is(err, lock.ErrRefused) || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "connect_timeout") {
			t.Errorf("Take over a link that is cut: %v; want %q", err, want)
		}
		interrupted, interrupt := context.WithCancel(t.Context())
		time.AfterFunc(10*time.Millisecond, interrupt)
		if err := claim(p, "a").Release(interrupted); !errors.Is(err, context.Canceled) {
			t.Errorf("Release that is interrupted: %v", err)
		}
		if err := link.Mend(); err != nil {
			t.Fatal(err)
		}
	}
	p := open(t, url)
	cut(p, "dial error: timeout")
	takes(t, claim(p, "a"), 1, "")
	cut(p, "no answer")
	takes(t, claim(p, "a"), 1, "")
	releases(t, claim(p, "a"))
	t.Run("TLS", func(t *testing.T) { testTLS(t, at, link.Address, url) })
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	file string
}

func newAuthority(t *testing.T, dir, name string) authority {
	t.Helper()
	a := authority{file: filepath.Join(dir, name+".crt")}
	a.cert, a.key = a.sign(t, filepath.Join(dir, name), &x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign})
	return a
}

// sign writes a certificate and its key, which this authority signs, or the certificate itself if there is none yet.
func (a authority) sign(t *testing.T, file string, cert *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert.SerialNumber, cert.NotBefore, cert.NotAfter = big.NewInt(time.Now().UnixNano()), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, signer := a.cert, a.key
	if parent == nil {
		parent, signer = cert, key
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, parent, &key.PublicKey, signer)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]pem.Block{file + ".crt": {Type: "CERTIFICATE", Bytes: der}, file + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(&block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return made, key
}

func testTLS(t *testing.T, at place, host, url string) {
	dir := t.TempDir()
	ours, theirs := newAuthority(t, dir, "ours"), newAuthority(t, dir, "theirs")
	mine := filepath.Join(dir, "mine")
	ours.sign(t, mine, &x509.Certificate{Subject: pkix.Name{CommonName: "guest"}})
	server := filepath.Join(at.Dir, "data", "server")
	ours.sign(t, server, &x509.Certificate{DNSNames: []string{"db.example"}, IPAddresses: []net.IP{net.ParseIP(host)}})
	if out, err := exec.Command("cp", ours.file, server+".ca").CombinedOutput(); err != nil {
		t.Fatalf("cp: %v: %s", err, out)
	}
	for _, name := range []string{server + ".crt", server + ".key", server + ".ca"} {
		if out, err := exec.Command("chown", at.Owner(), name).CombinedOutput(); err != nil {
			t.Fatalf("chown: %v: %s", err, out)
		}
	}
	refused(t, url+"&sslmode=require", "server refused TLS connection")
	refused(t, url+"&cacert="+ours.file, "server refused TLS connection")
	rules := fmt.Sprintf("hostssl all guest all cert\nhostssl all %s all trust\nlocal all all trust\n", servertest.User)
	if err := os.WriteFile(filepath.Join(at.Dir, "data", "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	at.exec(t, `CREATE ROLE guest LOGIN SUPERUSER`)
	for _, stmt := range []string{"ssl = on", "ssl_ca_file = 'server.ca'"} {
		at.exec(t, `ALTER SYSTEM SET `+stmt)
	}
	at.exec(t, `SELECT pg_reload_conf()`)
	until(t, url+"&cacert="+ours.file, "server refused TLS connection")
	if err := lockError(t, url+"&cacert="+ours.file); err != nil {
		t.Errorf("with TLS: %v", err)
	}
	refused(t, url+"&cacert="+theirs.file, "unknown authority")
	refused(t, url+"&sslmode=disable", "no encryption")
	guest := strings.Replace(url, servertest.User+"@", "guest@", 1)
	refused(t, guest+"&cacert="+ours.file, "certificate")
	if err := lockError(t, guest+"&cacert="+ours.file+"&cert="+mine+".crt&key="+mine+".key"); err != nil {
		t.Errorf("with our certificate: %v", err)
	}
	ours.sign(t, server, &x509.Certificate{DNSNames: []string{"db.example"}})
	at.exec(t, `SELECT pg_reload_conf()`)
	until(t, url+"&cacert="+ours.file, "<nil>")
	refused(t, url+"&cacert="+ours.file, "cannot validate certificate for "+host)
	if err := lockError(t, url+"&sslmode=verify-ca&cacert="+ours.file); err != nil {
		t.Errorf("with any name: %v", err)
	}
}

// until waits until the server has read its configuration again, and says something else.
func until(t *testing.T, url, before string) {
	t.Helper()
	for strings.Contains(fmt.Sprint(lockError(t, url)), before) {
	}
}
