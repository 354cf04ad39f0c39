package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/runfold/runfold/cmd/compactd/page"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/internal/terminal"
	"github.com/runfold/runfold/journal"
)

// defaultListen is where serve listens.
const defaultListen = "127.0.0.1:8321"

// serving is the flags of a page.
type serving struct {
	listen, tokenFile string
	hosts             []string
	insecure          bool
}

func (s *serving) flags(f *pflag.FlagSet, listen, what string) {
	f.StringVar(&s.listen, "listen", listen, what)
	f.StringVar(&s.tokenFile, "token-file", "", "who asks must have the token that stands in this `FILE`")
	f.BoolVar(&s.insecure, "insecure", false, "let everybody who reaches this address read all of the root")
	f.StringArrayVar(&s.hosts, "host", nil, "a `NAME` by which browsers call this server, besides localhost and IP addresses; may be given more than once")
}

func (a *app) serveCommand() *cobra.Command {
	var s serving
	cmd := &cobra.Command{
		Use:   "serve --root DIR",
		Short: "Show the runs in a browser",
		Long: `Show the runs of a root in a browser, until SIGTERM or SIGINT: lists that are filtered and sorted, one run with its snapshot, what differs between runs, charts,
the generations, the status, and both public files. It prints the address.

It only reads. It takes no lock, and may run beside everything else, in any number. Where there is no root yet, the page says so until there is one.

It listens at a loopback address, which only this machine reaches; everybody who has an account on it does. --listen with another address needs --token-file, or --insecure.
The token is a line of 16 to 512 letters, digits and signs. Open the page once with /?token=... at the end of its address: a cookie then
keeps it. Programs send Authorization: Bearer. What is sent is not encrypted: over a network that others can read, put a proxy with TLS before it, or reach it through
ssh -L 8321:127.0.0.1:8321. A proxy passes the name on by which browsers call it: --host says that name.

The state of a page stands in its address, so that it can be handed to somebody else.`,
		Example: `  compactd serve --root runs
  compactd serve --root runs --listen 127.0.0.1:9000
  (umask 077 && openssl rand -hex 24 > token) && compactd serve --root runs --listen :8321 --token-file token --host runs.example.org`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := a.config()
			if err != nil {
				return err
			}
			if err := a.looksRight(cfg); err != nil {
				return err
			}
			p, l, err := a.open(s, cfg, func(err error) { a.say("%s", terminal.Line(err.Error())) })
			if err != nil {
				return err
			}
			defer p.Close()
			if _, err := fmt.Fprintln(a.stdout, address(l)); err != nil {
				l.Close()
				return err
			}
			return p.Serve(cmd.Context(), l)
		},
	}
	s.flags(cmd.Flags(), defaultListen, "listen at this `ADDRESS`")
	return cmd
}

// looksRight refuses a root that is not the right one. One that is not there yet may come.
func (a *app) looksRight(cfg compactor.Config) error {
	_, err := cfg.Store()
	var none *journal.NoRootError
	if errors.As(err, &none) && none.Vacant {
		a.say("%v: the page says so until there is one", err)
		return nil
	}
	return err
}

// open listens. failed is called by several goroutines.
func (a *app) open(s serving, cfg compactor.Config, failed func(error)) (*page.Page, net.Listener, error) {
	token, err := s.check()
	if err != nil {
		return nil, nil, err
	}
	if token != "" && isShared(s.tokenFile) {
		a.say("--token-file %s: others on this machine can read the token: chmod 600 keeps it from them", s.tokenFile)
	}
	if s.insecure && !page.IsLoopback(s.listen) && token == "" {
		a.say("--insecure: everybody who reaches %s can read all of the root", s.listen)
	}
	l, err := net.Listen("tcp", s.listen)
	if err != nil {
		return nil, nil, listenError(s.listen, err)
	}
	cfg.Notify = nil // each reader would hear of what the next fold tells
	return page.New(page.Config{Root: cfg, Token: token, Hosts: s.names(), Failed: failed}), l, nil
}

// check reads the token, and refuses an address that strangers reach without one.
func (s serving) check() (token string, err error) {
	if _, _, err := net.SplitHostPort(s.listen); err != nil {
		return "", usageError{fmt.Errorf("--listen %q is no address: write one such as %s, or :8321 for all addresses of this machine", s.listen, defaultListen)}
	}
	if s.tokenFile != "" {
		if token, err = readToken(s.tokenFile); err != nil {
			return "", err
		}
	}
	if !page.IsLoopback(s.listen) && token == "" && !s.insecure {
		return "", usageError{fmt.Errorf("--listen %s can be reached from other machines: --token-file FILE asks readers for a token, and --insecure lets everybody read all of the root", s.listen)}
	}
	return token, nil
}

// names are those of --host, and that of --listen.
func (s serving) names() []string {
	names := slices.Clone(s.hosts)
	if host, _, err := net.SplitHostPort(s.listen); err == nil && host != "" {
		names = append(names, host)
	}
	return names
}

// readToken reads a token, of which nothing is ever shown.
func readToken(file string) (string, error) {
	const least, most = 16, 512
	f, err := os.Open(file)
	if err != nil {
		return "", fmt.Errorf("--token-file: %v", err) // %w would bring the hint of a root that may not be read
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+3)) // and what is longer is seen to be
	if err != nil {
		return "", fmt.Errorf("--token-file: %w", err)
	}
	token := strings.TrimRight(string(data), "\r\n")
	strange := strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r >= 0x7f })
	if len(token) < least || len(token) > most || strange {
		return "", usageError{fmt.Errorf("--token-file %s: a token is one line of %d to %d letters, digits and signs, without spaces; openssl rand -hex 24 makes one", file, least, most)}
	}
	return token, nil
}

// isShared tells whether others than the owner and the group of a file may read it. Windows does not say.
func isShared(file string) bool {
	i, err := os.Stat(file)
	return err == nil && runtime.GOOS != "windows" && i.Mode().Perm()&0o004 != 0
}

// listenError says why nobody can be listened to.
func listenError(address string, err error) error {
	const inUse, notOurs, forbidden = syscall.Errno(10048), syscall.Errno(10049), syscall.Errno(10013) // as Windows calls them; no other system has these
	switch {
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, inUse):
		return fmt.Errorf("listen at %s: another program listens there, perhaps another compactd serve: --listen 127.0.0.1:0 takes a free port", address)
	case errors.Is(err, fs.ErrPermission), errors.Is(err, forbidden):
		return fmt.Errorf("listen at %s: this user may not listen there: ports below 1024 are those of the system: %v", address, err) // %w would bring the hint of a root that may not be read
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, notOurs):
		return fmt.Errorf("listen at %s: this machine does not have this address: %w", address, err)
	}
	return fmt.Errorf("listen at %s: %w", address, err)
}

// address is what a browser opens.
func address(l net.Listener) string {
	at := l.Addr().String()
	if host, port, err := net.SplitHostPort(at); err == nil && net.ParseIP(host).IsUnspecified() {
		at = net.JoinHostPort("localhost", port)
	}
	return "http://" + at + "/"
}

// serveBeside shows a page while a daemon folds, until end is called.
func (a *app) serveBeside(ctx context.Context, s serving, cfg compactor.Config, failed func(error)) (end func(), at string, err error) {
	p, l, err := a.open(s, cfg, failed)
	if err != nil {
		return nil, "", err
	}
	ctx, stop := context.WithCancel(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := p.Serve(ctx, l); err != nil {
			failed(err)
		}
	}()
	return func() {
		stop()
		<-ended
		p.Close()
	}, address(l), nil
}
