// Package acceptance tests both commands as their users run them: many processes at once, killed or
// not, over one root. It also holds what the tests of the single commands share with it.
package acceptance
