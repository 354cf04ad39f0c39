// Package arrows has tests only. Imports within this repository point one way, and each package of others
// is imported only in the place that was chosen for it.
package arrows
