package index

import (
	"strings"

	"github.com/runfold/runfold/cohort"
	"github.com/runfold/runfold/internal/jsonscan"
)

// The columns of the profile foxml that this package knows by name. Part of the format, do not change.
const (
	columnSegment = "segment_id"
	columnMode    = "mode"
	columnView    = "view"
)

// identityOfSegment are the columns whose values are those of the row before, within one segment of a cohort. Part of the format, do not
// change.
var identityOfSegment = [...]string{"data_fingerprint", "featureset_hash", "config_hash", "git_commit"}

// foxmlColumns are the columns that FoxML has in its index, in its order, without those that each index has: phase, cohort_id and run_id.
const foxmlColumns = `mode:string target:string symbol:string model_family:string segment_id:int64
	data_fingerprint:string featureset_hash:string config_hash:string git_commit:string
	n_effective:int64 n_symbols:int64
	auc:double logloss:double pr_auc:double sym_auc_mean:double sym_auc_median:double sym_auc_iqr:double sym_auc_min:double sym_auc_max:double
	frac_symbols_good:double composite_score:double mean_importance:double
	route:string route_changed:int64 route_entropy:double pos_rate:double
	n_features_pre:int64 n_features_post_prune:int64 n_features_selected:int64
	purge_minutes_used:double embargo_minutes_used:double horizon_minutes:double
	jaccard_topK:double rank_corr_spearman:double importance_concentration:double
	runtime_sec:double peak_ram_mb:double folds_executed:int64
	date:string created_at:string run_started_at:string
	decision_level:int64 decision_action_mask:string decision_reason_codes:string path:string`

// ColumnsOf is what a root with a profile wants of its columns when it is made.
func ColumnsOf(p cohort.Profile) (c Columns) {
	if p != cohort.Foxml {
		return c
	}
	for _, text := range strings.Fields(foxmlColumns) {
		col, err := ParseColumn(text)
		if err != nil {
			panic("index: internal error: a column of a profile: " + err.Error())
		}
		col.Made = col.Name == columnSegment
		c.Declared = append(c.Declared, col)
	}
	return c
}

// isCohortOf tells whether a field of a record is its cohort, which the fixed column says as well.
func isCohortOf(r cohort.Record, m field) bool {
	return m.column == columnCohort && m.is == jsonscan.String && jsonscan.ScalarText(m.value) == string(r.Cohort)
}

// addMode adds the column mode of a record that has its view by another name, or in other letters. Then the record's own mode, if
// there is one, comes after it and goes to _extra.
func (f *flattener) addMode(r cohort.Record) {
	view := cohort.ViewOf(r)
	if view == "" {
		return
	}
	for _, m := range f.top {
		if m.column == columnMode && m.is == jsonscan.String && jsonscan.ScalarText(m.value) == view {
			return
		}
	}
	n := f.root.under[columnMode]
	if n == nil {
		n = f.meet(&f.root, columnMode)
	}
	f.add(field{n, jsonscan.Quote(view), jsonscan.String})
}
