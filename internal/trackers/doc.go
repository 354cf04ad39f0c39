// Package trackers holds tests alone: the real MLflow, wandb, Optuna, Sacred and TensorBoard make files, compactd imports them, and each value is compared
// with what the tracker's own program says of it.
//
// "make test-trackers" installs them, in the versions of requirements.txt, and runs the tests. MLflow 2 lies beside MLflow 3, which has the libraries that
// both need. testdata/examples.py makes docs/examples/trackers anew.
package trackers
