// Package lint finds one mistake that the compiler and vet accept: a statement whose meaning depends on which of its
// operands is evaluated first.
//
//	return next, f.write(&next)
//
// The language defines the order of calls. It does not define whether a variable is read before or after a call in the same
// statement. So next may have its value from before the call, or from after it. To mend the mistake, put the call into a
// statement of its own. A test of this package checks the whole module.
//
// Another test keeps some turns of phrase out of comments, messages and documents: see TestPhrases.
package lint
