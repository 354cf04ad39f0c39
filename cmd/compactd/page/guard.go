package page

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"slices"
	"strings"
)

// dropped takes what the server says of single connections: strangers could fill a disk with it.
var dropped = log.New(io.Discard, "", 0)

// policy lets a page load what is ours, and nothing else.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

// protect sets what every answer has.
func protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
}

// What admit refuses.
var (
	errAnswered = errors.New("answered")
	errMethod   = &statusError{http.StatusMethodNotAllowed, "this server only shows: GET and HEAD are all that it answers"}
	errToken    = &statusError{http.StatusUnauthorized, "this page needs a token: open it with /?token=... once, or send it as Authorization: Bearer ..."}
)

// statusError is an error with a code of HTTP.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string { return e.text }

// admit refuses who may not ask.
func (p *Page) admit(w http.ResponseWriter, r *http.Request) error {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return errMethod
	}
	if !p.isCalled(r.Host) {
		return &statusError{http.StatusForbidden, fmt.Sprintf("this server is not known as %q: --host says by which other names it may be called", r.Host)}
	}
	if p.Token == "" {
		return nil
	}
	return p.identify(w, r)
}

// isCalled tells whether a request may mean this server. An IP address cannot be that of a stranger's page; a name can.
func (p *Page) isCalled(host string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.TrimSuffix(strings.ToLower(strings.Trim(name, "[]")), ".")
	return name == "localhost" || net.ParseIP(name) != nil || slices.ContainsFunc(p.Hosts, func(h string) bool { return strings.EqualFold(h, name) })
}

// identify lets in who has the token. One that comes in the address goes into a cookie, and out of the address.
func (p *Page) identify(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	if given, is := query["token"]; is {
		if !p.isToken(strings.Join(given, "\n")) {
			return errToken
		}
		query.Del("token")
		http.SetCookie(w, &http.Cookie{
			Name: p.cookieName(), Value: p.cookieValue(), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, Secure: r.TLS != nil,
		})
		to := *r.URL
		to.RawQuery = query.Encode()
		http.Redirect(w, r, "/"+strings.TrimLeft(to.RequestURI(), "/"), http.StatusSeeOther) // what begins with // is another server
		return errAnswered
	}
	if bearer, is := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); is && p.isToken(bearer) {
		return nil
	}
	for _, c := range r.CookiesNamed(p.cookieName()) {
		if same(c.Value, p.cookieValue()) {
			return nil
		}
	}
	w.Header().Set("WWW-Authenticate", "Bearer")
	return errToken
}

func (p *Page) isToken(given string) bool { return same(given, p.Token) }

// same compares in a time that tells nothing of what is right.
func same(given, right string) bool {
	g, r := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(right))
	return subtle.ConstantTimeCompare(g[:], r[:]) == 1
}

// cookieValue stands for the token, which no file of a browser needs to hold.
func (p *Page) cookieValue() string {
	sum := sha256.Sum256([]byte("runfold cookie\n" + p.Token))
	return hex.EncodeToString(sum[:])
}

// cookieName is another one for another token: servers at several ports of a machine share their cookies.
func (p *Page) cookieName() string {
	sum := sha256.Sum256([]byte("runfold name\n" + p.Token))
	return "runfold-" + hex.EncodeToString(sum[:4])
}
