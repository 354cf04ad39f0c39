package etcd_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/compactor/lock/etcd"
)

// TestOpen has URLs as people write them.
func TestOpen(t *testing.T) {
	file := secret(t, password)
	for url, where := range map[string]string{
		"etcd://a":                                       "a:2379",
		"etcd://a/":                                      "a:2379",
		"etcd://a?tls=on":                                "a:2379",
		"etcd://a:1,b.example,10.0.0.1:65535/":           "a:1,b.example:2379,10.0.0.1:65535",
		"etcd://[::1],[fd00::1]:1/?lease=90s":            "[::1]:2379,[fd00::1]:1",
		"etcd://us%40er@a/?password-file=" + file:        "a:2379",
		"etcd://a:2379/?lease=1h&tls=on":                 "a:2379",
		"etcd://u@a,b:3/?lease=2s&password-file=" + file: "a:2379,b:3",
	} {
		p := open(t, url)
		if p.Kind != "etcd" || p.Where != where {
			t.Errorf("Open(%q) = %s at %s, want %s", url, p.Kind, p.Where, where)
		}
	}
	if got := open(t, "etcd://a/?lease=90s").Lease(); got != 90*time.Second {
		t.Errorf("lease=90s is %v", got)
	}
	if got := open(t, "etcd://a").Lease(); got != lock.DefaultLease {
		t.Errorf("without lease= it is %v", got)
	}
}

// TestOpenRefuses has URLs that are wrong. No message has what may be a secret.
func TestOpenRefuses(t *testing.T) {
	none := filepath.Join(t.TempDir(), "none")
	text := secret(t, "s3cret")
	for url, says := range map[string]string{
		"etcd://u:s3cret@a/":                      lock.ErrPassword.Error(),
		"etcd://u:s3@cret@a/":                     lock.ErrPassword.Error(),
		"etcd://u:@a/":                            lock.ErrPassword.Error(),
		"etcd://a/?password=s3cret":               lock.ErrPassword.Error(),
		"etcd://u:s3cret/x@a/":                    "etcd://[USER@]HOST",
		"etcd://u:s3cret?x@a/":                    "etcd://[USER@]HOST",
		"etcd://u:123?s3cret=@a/":                 "etcd://[USER@]HOST",
		"etcd://u:123#s3cret@a/":                  "etcd://[USER@]HOST",
		"etcds://a/":                              "etcd://[USER@]HOST",
		"etcd:a":                                  "etcd://[USER@]HOST",
		"etcd://":                                 "etcd://[USER@]HOST",
		"etcd:///":                                "etcd://[USER@]HOST",
		"etcd://a,,b":                             "etcd://[USER@]HOST",
		"etcd://a,":                               "etcd://[USER@]HOST",
		"etcd://a:0":                              "etcd://[USER@]HOST",
		"etcd://a:65536":                          "etcd://[USER@]HOST",
		"etcd://a:http":                           "etcd://[USER@]HOST",
		"etcd://::1":                              "etcd://[USER@]HOST",
		"etcd://[::1":                             "etcd://[USER@]HOST",
		"etcd://[a:b]:1":                          "etcd://[USER@]HOST",
		"etcd://@a":                               "etcd://[USER@]HOST",
		"etcd://%zz@a":                            "etcd://[USER@]HOST",
		"etcd://a b":                              "etcd://[USER@]HOST",
		"etcd://a/b":                              "etcd://[USER@]HOST",
		"etcd://a/?lease=%zz":                     "etcd://[USER@]HOST",
		"etcd://a/#f":                             "etcd://[USER@]HOST",
		"etcd://http://a":                         "etcd://[USER@]HOST",
		"etcd://a/?leas=3s":                       `"leas"`,
		"etcd://a/?lease=3s&lease=4s":             `"lease"`,
		"etcd://a/?lease=1s":                      "lease=1s: give a time from 2s to 1h0m0s",
		"etcd://a/?lease=":                        "lease=: give a time",
		"etcd://a/?lease=30":                      "lease=30: give a time",
		"etcd://a/?lease=-5s":                     "lease=-5s: give a time",
		"etcd://a/?lease=61m":                     "lease=61m: give a time",
		"etcd://a/?tls=off":                       "tls=off: give tls=on",
		"etcd://a/?cert=" + none:                  "cert and key: give both files",
		"etcd://a/?key=" + none:                   "cert and key: give both files",
		"etcd://a/?cacert=" + none:                none,
		"etcd://a/?cacert=" + text:                "has no certificate in PEM",
		"etcd://a/?cert=" + none + "&key=" + none: none,
		"etcd://a/?cert=" + text + "&key=" + text: "cert and key: ",
		"etcd://u@a/?password-file=" + none:       none,
		"etcd://u@a/?password-file=" + os.DevNull: os.DevNull + " is not a file of at most 4 MiB",
		"etcd://u@a/":                             "there is no password of user u of etcd: set ETCDCTL_PASSWORD",
		"etcd://a/?password-file=" + text:         "password-file= needs a user",
	} {
		_, err := etcd.Open(url)
		if err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("Open(%q) = %v, want an error that says %q", url, err, says)
		}
		if errors.Is(err, lock.ErrPassword) != (says == lock.ErrPassword.Error()) {
			t.Errorf("Open(%q) = %v", url, err)
		}
	}
}
