// Package arrows holds one test: imports within this repository point one way, and each package that
// we build on is imported where it was decided and nowhere else.
package arrows
