// Package foreignreader holds one test: the published files are read by DuckDB, a reader that shares
// no code with us. It is a module of its own so that DuckDB does not weigh on runfold's.
package foreignreader
