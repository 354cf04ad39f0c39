"""Makes a journal of Optuna, and prints what optuna.load_study says of all its trials."""
import os
import sys

import optuna
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from made import done, number

optuna.logging.set_verbosity(optuna.logging.ERROR)
os.environ["TZ"] = "UTC"
storage = JournalStorage(JournalFileBackend(os.path.join(sys.argv[1], "journal.log")))


def objective(trial):
    x = trial.suggest_float("x", -10, 10)
    lr = trial.suggest_float("lr", 1e-7, 1e-1, log=True)
    step = trial.suggest_float("stepped", 0, 1, step=0.25)
    n = trial.suggest_int("n", 1, 2**40, log=True)
    kind = trial.suggest_categorical("kind", ["adam", "sgd", None, True, 3, 0.5])
    trial.set_user_attr("note", "größe %d" % trial.number)
    trial.set_user_attr("layers", [64, 64])
    trial.set_user_attr("params_count", 12345678901234567890)
    for i in range(20):
        trial.report(x / (i + 1), i)
        if trial.number % 5 == 4 and i == 7:
            raise optuna.TrialPruned()
    if trial.number % 7 == 6:
        raise ValueError("broken")
    if trial.number == 3:
        trial.report(float("nan"), 99)
    return x * x + lr + step + n


study = optuna.create_study(study_name="sweep one", storage=storage, sampler=optuna.samplers.RandomSampler(seed=7))
study.set_user_attr("owner", "ann")
study.optimize(objective, n_trials=15, catch=(ValueError,))
study.enqueue_trial({"x": 1.5})
study.ask()
study.ask()

two = optuna.create_study(study_name="two", storage=storage, directions=["minimize", "maximize"])
two.set_metric_names(["loss", "auc"])
two.optimize(lambda t: (t.suggest_float("a", 0, 1), t.suggest_int("b", 0, 9)), n_trials=3)
three = optuna.create_study(study_name="three", storage=storage, directions=["minimize", "maximize"])
three.optimize(lambda t: (t.suggest_float("a", 0, 1), 2), n_trials=2)
three.add_trial(create_trial(params={"a": 0.5, "c": 4}, distributions={"a": FloatDistribution(0, 1), "c": IntDistribution(0, 9)}, values=[1, 2.5],
                             user_attrs={"copied": "yes"}))
three.add_trial(create_trial(state=TrialState.FAIL))
gone = optuna.create_study(study_name="gone", storage=storage)
gone.optimize(lambda t: 1.0, n_trials=2)
optuna.delete_study(study_name="gone", storage=storage)

STATUS = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "FAIL": "FAILED", "RUNNING": "RUNNING", "WAITING": "SCHEDULED"}


def ms(t):
    return None if t is None else t.timestamp() * 1000


runs = []
for name in ("sweep one", "two", "three"):
    study = optuna.load_study(study_name=name, storage=storage)
    for t in study.trials:
        names = ["value"] if len(study.directions) == 1 else study.metric_names or ["values_%d" % i for i in range(len(study.directions))]
        runs.append({
            "run_id": "%s-%d" % (name, t.number), "name": "", "experiment": name, "status": STATUS[t.state.name], "start": ms(t.datetime_start), "end": ms(t.datetime_complete),
            "params": t.params, "tags": {"state": t.state.name, **{k: str(v) for k, v in t.user_attrs.items() if not isinstance(v, list)}},
            "metrics": {k: number(v) for k, v in zip(names, t.values or [])},
            "history": {"intermediate_value": [[k, None, number(v)] for k, v in sorted(t.intermediate_values.items())]} if t.intermediate_values else {},
        })
done(runs)
