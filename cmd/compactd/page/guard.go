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
	errStranger = &statusError{http.StatusForbidden, "a page of another site asks for this: only a link to it is followed"}
	errToken    = &statusError{http.StatusUnauthorized, "this page needs a token: the one who runs compactd serve has it. Programs send it as Authorization: Bearer ..."}
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
	if isEmbedded(r.Header) {
		return errStranger
	}
	if !p.isCalled(r.Host) {
		return &statusError{http.StatusForbidden, fmt.Sprintf("this server is not known as %q: --host says by which other names it may be called", r.Host)}
	}
	if p.Token == "" || isStatic(r.URL.Path) {
		return nil
	}
	return p.identify(w, r)
}

// isEmbedded tells whether a page of another site asks for a part of itself, such as a picture or a frame. It could not read the answer. But it could let
// the browsers of its readers ask many hard questions, and see how long each takes. Browsers say so themselves, and tell it from a link that a reader follows.
func isEmbedded(h http.Header) bool {
	switch h.Get("Sec-Fetch-Site") {
	case "cross-site", "same-site": // other ports of localhost are the same site
		return h.Get("Sec-Fetch-Mode") != "navigate" || h.Get("Sec-Fetch-Dest") != "document"
	}
	return false
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
			Name: p.cookieName(), Value: p.cookieValue(), Path: cookiePath(r), HttpOnly: true, SameSite: http.SameSiteLaxMode,
			Secure: r.Header.Get("X-Forwarded-Proto") == "https", // a proxy with TLS says so; one who lies gets a cookie that is never sent
		})
		to := *r.URL
		to.RawQuery = query.Encode()
		redirect(w, r, to.RequestURI())
		return errAnswered
	}
	if kind, bearer, _ := strings.Cut(r.Header.Get("Authorization"), " "); strings.EqualFold(kind, "Bearer") && p.isToken(bearer) {
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

// cookiePath is where the cookie is sent: everywhere, which at our top is what a browser takes without a path. There it is also right behind a proxy that
// puts a path before ours, and keeps the cookie from what else that proxy leads to.
func cookiePath(r *http.Request) string {
	if up(r) == "./" {
		return ""
	}
	return "/"
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
