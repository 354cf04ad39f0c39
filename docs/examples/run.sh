#!/bin/sh
# The main job on the example data: one process per cohort appends, all at once; then one fold. Whichever process is
# first makes the root.
#
#   docs/examples/run.sh ROOT
#
# BIN is the directory of the commands; if unset, bin/ of the repository.
set -eu
root=${1:?usage: run.sh ROOT}
here=$(dirname "$0")
bin=${BIN:-$here/../../bin}
pids=
for file in "$here"/*.ndjson; do
  "$bin/journal-append" --root "$root" --create --cohort "$(basename "$file" .ndjson)" "$file" &
  pids="$pids $!"
done
for pid in $pids; do
  wait "$pid"
done
"$bin/compactd" once --root "$root"
"$bin/compactd" check --root "$root"
ls -l "$root/index.parquet" "$root/snapshot_index.json"
