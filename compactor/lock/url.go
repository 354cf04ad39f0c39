package lock

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"
)

// ParseLease reads the option lease of a URL.
func ParseLease(text string) (time.Duration, error) {
	d, err := time.ParseDuration(text)
	if err != nil || d < MinLease || d > MaxLease {
		return 0, fmt.Errorf("lease=%s: give a time from %v to %v, such as 30s", text, MinLease, MaxLease)
	}
	return d, nil
}

// ReadPassword reads the file of the option password-file of a URL. One line feed at its end is left out.
func ReadPassword(file string) (string, error) {
	text, err := readFile(file)
	if err != nil {
		return "", fmt.Errorf("password-file: %w", err)
	}
	password := strings.TrimSuffix(string(text), "\n")
	if password == "" {
		return "", fmt.Errorf("password-file: %s has no password", file)
	}
	return password, nil
}

// ClientTLS is what the options cacert, cert and key of a URL say: the file with the certificates to trust, or those of the machine if it is empty, and those with our certificate and its
// key. These two are read again for each connection: a process may run longer than a certificate lasts.
func ClientTLS(cacert, cert, key string) (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if cacert != "" {
		text, err := readFile(cacert)
		if err != nil {
			return nil, fmt.Errorf("cacert: %w", err)
		}
		if config.RootCAs = x509.NewCertPool(); !config.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("cacert: %s has no certificate in PEM form", cacert)
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("cert and key: give both files")
	}
	if cert != "" {
		read := func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			public, err := readFile(cert)
			if err != nil {
				return nil, err
			}
			private, err := readFile(key)
			if err != nil {
				return nil, err
			}
			pair, err := tls.X509KeyPair(public, private)
			return &pair, err
		}
		if _, err := read(nil); err != nil {
			return nil, fmt.Errorf("cert and key: %w", err)
		}
		config.GetClientCertificate = read
	}
	return config, nil
}

// maxFile bounds what is read. Hundreds of certificates are shorter.
const maxFile = 4 << 20

// readFile reads a file that a URL names. What is no file, such as a pipe, might never end.
func readFile(name string) ([]byte, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return nil, fmt.Errorf("%s is not a file of at most %d MiB", name, maxFile>>20)
	}
	return os.ReadFile(name)
}
