"""Prints the 48 columns of FoxML as pandas reads them from a root, with their types, then the rows."""
import sys

import pandas as pd
import pyarrow.parquet as pq

columns = """phase mode target symbol model_family cohort_id run_id segment_id data_fingerprint featureset_hash config_hash git_commit n_effective
n_symbols auc logloss pr_auc sym_auc_mean sym_auc_median sym_auc_iqr sym_auc_min sym_auc_max frac_symbols_good composite_score mean_importance route
route_changed route_entropy pos_rate n_features_pre n_features_post_prune n_features_selected purge_minutes_used embargo_minutes_used horizon_minutes
jaccard_topK rank_corr_spearman importance_concentration runtime_sec peak_ram_mb folds_executed date created_at run_started_at decision_level
decision_action_mask decision_reason_codes path""".split()
assert len(columns) == 48, len(columns)

file = sys.argv[1] + "/index.parquet"
schema = pq.read_schema(file)
df = pd.read_parquet(file)[columns]  # fails if one is missing
own = [name for name in schema.names if name in columns and name not in ("phase", "cohort_id", "run_id")]
assert own == [name for name in columns if name not in ("phase", "cohort_id", "run_id")], own
for name in columns:
    print(name, schema.field(name).type, df[name].dtype)
for _, row in df.sort_values("run_id").iterrows():
    print(*[f"{name}={row[name]}" for name in columns if not pd.isna(row[name])])
