package servertest

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

// TestProcess starts each server that is one process, kills it and starts it again.
func TestProcess(t *testing.T) {
	for name, start := range map[string]func() (*Process, error){
		"redis": func() (*Process, error) { return NewRedis(nil) },
		"etcd":  func() (*Process, error) { return NewEtcd(nil, false) },
	} {
		t.Run(name, func(t *testing.T) {
			p, err := start()
			if err != nil {
				Skip(t, err)
			}
			t.Cleanup(func() { p.Close() })
			for _, again := range []func() error{p.Start, p.StartEmpty} {
				reach(t, p, true)
				p.Kill()
				reach(t, p, false)
				if err := again(); err != nil {
					t.Fatal(err)
				}
			}
			reach(t, p, true)
		})
	}
}

func reach(t *testing.T, p *Process, want bool) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address)
	if (err == nil) != want {
		t.Fatalf("dial %s: %v", p.Address, err)
	}
	if err == nil {
		c.Close()
	}
}

// TestSetClock moves the clock of a Redis server.
func TestSetClock(t *testing.T) {
	if err := HasClock(); err != nil {
		Skip(t, err)
	}
	p, err := NewRedis(nil)
	if err != nil {
		Skip(t, err)
	}
	t.Cleanup(func() { p.Close() })
	before := redisTime(t, p)
	if err := p.SetClock("+1h"); err != nil {
		t.Fatal(err)
	}
	if after := redisTime(t, p); after-before < 3600 || after-before > 3700 {
		t.Errorf("an hour ahead is %d seconds", after-before)
	}
}

// redisTime is the clock of a server, in seconds.
func redisTime(t *testing.T, p *Process) (seconds int64) {
	t.Helper()
	c, err := net.Dial("tcp", p.Address)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "TIME\r\n")
	for lines := bufio.NewScanner(c); lines.Scan(); {
		if text := lines.Text(); !strings.HasPrefix(text, "*") && !strings.HasPrefix(text, "$") {
			if _, err := fmt.Sscan(text, &seconds); err != nil {
				t.Fatal(err)
			}
			return seconds
		}
	}
	t.Fatal("no answer")
	return 0
}
