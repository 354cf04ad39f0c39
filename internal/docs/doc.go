// Package docs holds tests alone: they run every code block of the README and of the pages below docs, and follow every link.
//
// A page is run as its reader runs it: all its blocks in their order, in one fresh copy of the repository, with one shell
// and one Python. The language that stands behind the fence says how:
//
//	sh      a shell, with the commands on its PATH; what it exports holds for the next one
//	python  Python with the packages of requirements.txt
//	sql     DuckDB, in that Python
//	go      a whole program of this module
//	output  what the block before it prints, on standard output and standard error
//	vector  an example of a format, which the tests of that format read
//
// In a block of output "..." stands for what differs from run to run, and alone on a line for any number of lines. A block
// that cannot be run has a comment before it that says why, and is counted:
//
//	<!-- not run: a fragment of a configuration -->
//
// Decisions are not run: they stay as they were written. "make test-docs" makes the Python that is needed.
package docs
