"""Makes event files with tensorboardX, and with TensorBoard's own writer as TensorFlow 2 writes scalars, and prints what EventAccumulator says of them."""
import os
import sys

import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.compat.proto import event_pb2, summary_pb2
from tensorboard.plugins.hparams import summary_v2 as hp
from tensorboard.summary.writer.event_file_writer import EventFileWriter
from tensorboard.util import tensor_util
from tensorboardX import SummaryWriter

from made import done, number

top = os.path.join(sys.argv[1], "My logs")
params = {}


def run(name):
    return os.path.join(top, name)


with SummaryWriter(run("sweep/one"), write_to_disk=True) as w:
    for i in range(500):
        w.add_scalar("loss/train", 1.0 / (i + 1), i)
        if i % 10 == 0:
            w.add_scalar("acc", i / 500, i)
    w.add_scalar("nan", float("nan"), 3)
    w.add_scalar("big", 1e38, 3)
    w.add_histogram("weights", np.arange(10.0), 1)
    w.add_text("note", "hello", 1)
with SummaryWriter(run("sweep/one")) as w:  # goes on in a second file
    for i in range(500, 520):
        w.add_scalar("loss/train", 1.0 / (i + 1), i)

# As TensorFlow 2 does: tensors with the plugin "scalars", whose metadata only the first value has.
os.makedirs(run("tf2"))
w = EventFileWriter(run("tf2"))
for tag, dtype in (("f32", np.float32), ("f64", np.float64), ("i64", np.int64), ("f16", np.float16), ("zero", np.float32)):
    for i in range(5):
        value = 0 if tag == "zero" else (i + 1) / 3 if tag.startswith("f") else 2**40 + i
        meta = summary_pb2.SummaryMetadata(plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name="scalars")) if i == 0 else None
        v = summary_pb2.Summary.Value(tag=tag, tensor=tensor_util.make_tensor_proto(dtype(value)), metadata=meta)
        w.add_event(event_pb2.Event(wall_time=1700000000.25 + i, step=10 * i, summary=summary_pb2.Summary(value=[v])))
w.add_event(event_pb2.Event(wall_time=1700000000, step=0, summary=hp.hparams_pb({"lr": 0.01, "opt": "adam", "on": True, "n": 3}, trial_id="t", start_time_secs=1700000000.5)))
params["tf2"] = {"lr": 0.01, "opt": "adam", "on": True, "n": 3.0}
w.close()

runs = []
for name in ("sweep/one", "tf2"):
    a = EventAccumulator(run(name), size_guidance={"scalars": 0, "tensors": 0})
    a.Reload()
    history = {t: [[e.step, e.wall_time, number(e.value)] for e in a.Scalars(t)] for t in a.Tags()["scalars"]}
    for t in a.Tags()["tensors"]:
        if a.SummaryMetadata(t).plugin_data.plugin_name == "scalars":
            history[t] = [[e.step, e.wall_time, number(tensor_util.make_ndarray(e.tensor_proto).item())] for e in a.Tensors(t)]
    runs.append({
        "run_id": name, "name": "", "experiment": "My logs", "status": "RUNNING" if name in params else "", "params": params.get(name, {}), "tags": {},
        "metrics": {t: points[-1][2] for t, points in history.items()}, "history": history,
    })
done(runs)
