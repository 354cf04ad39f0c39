package main

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/runfold/runfold/cmd/compactd/found"
	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/query"
)

// The shell asks for words while somebody waits with a finger on the tab key.
const (
	completeWithin = 400 * time.Millisecond
	mostWords      = 100
)

// words are what may stand in a place, of those that begin with a text.
type words func(ctx context.Context, ans *answer, begin string) ([]string, error)

// complete lets the shell complete what a root has: in these flags, wherever a command has them, and in arguments.
func (a *app) complete(cmd *cobra.Command) {
	for flag, of := range map[string]words{
		"cohort": distinctWords("cohort_id"), "stage": distinctWords("stage"), "run-id": runWords,
		"columns": listWords(columnWords), "sort": listWords(columnWords), "where": columnWords,
	} {
		if cmd.Flags().Lookup(flag) != nil {
			_ = cmd.RegisterFlagCompletionFunc(flag, a.wordsOf(of)) // it fails for a flag that has one, and for one that is not there
		}
	}
	switch cmd.Name() {
	case "show", "explain":
		cmd.ValidArgsFunction = a.firstArgument(keyWords)
	case "best":
		cmd.ValidArgsFunction = a.firstArgument(metricWords)
	case "compare":
		cmd.ValidArgsFunction = a.wordsOf(keyWords)
	case "drop":
		if cmd.Parent().Name() == "columns" {
			cmd.ValidArgsFunction = a.wordsOf(columnWords)
		}
	}
}

func (a *app) firstArgument(of words) cobra.CompletionFunc {
	all := a.wordsOf(of)
	return func(cmd *cobra.Command, args []string, begin string) ([]string, cobra.ShellCompDirective) {
		if len(args) > 0 {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		return all(cmd, args, begin)
	}
}

// wordsOf asks the root. Where that cannot be asked, nothing is offered: a completion has no place to say why. What takes too long offers what it has.
func (a *app) wordsOf(of words) cobra.CompletionFunc {
	return func(cmd *cobra.Command, _ []string, begin string) ([]string, cobra.ShellCompDirective) {
		const directive = cobra.ShellCompDirectiveNoFileComp
		root, id, err := a.wantedRoot()
		if err != nil {
			return nil, directive
		}
		ctx, stop := context.WithTimeout(cmd.Context(), completeWithin)
		defer stop()
		m, err := compactor.Look(ctx, compactor.Config{Root: root, RootID: id}, false)
		if err != nil {
			return nil, directive
		}
		defer m.Close()
		found, err := of(ctx, &answer{moment: m, src: found.SourceOf(m)}, begin)
		if err != nil && ctx.Err() == nil {
			return nil, directive
		}
		found = slices.DeleteFunc(found, func(w string) bool {
			return !strings.HasPrefix(w, begin) || strings.ContainsFunc(w, isOdd)
		})
		return found[:min(mostWords, len(found))], directive
	}
}

// isOdd tells whether no shell should be given a character: the protocol has a line for each word and a tab before what explains it.
func isOdd(r rune) bool { return r < ' ' || r == 0x7f }

func distinctWords(column string) words {
	return func(ctx context.Context, ans *answer, _ string) ([]string, error) {
		texts, _, err := ans.src.Distinct(ctx, column, mostWords)
		return texts, err
	}
}

// runWords are run ids; of many those that were folded last.
func runWords(ctx context.Context, ans *answer, begin string) ([]string, error) {
	return ans.newest(ctx, "run_id", begin)
}

// keyWords are keys, which are run ids with their stage.
func keyWords(ctx context.Context, ans *answer, begin string) ([]string, error) {
	return ans.newest(ctx, "_key", begin)
}

// newest are values of a column that begin with a text, those of the last rows.
func (a *answer) newest(ctx context.Context, column, begin string) (texts []string, err error) {
	a.query.Sort = []query.Order{{Column: "snapshot_seq", Descending: true}}
	if begin != "" {
		a.query.Where, err = query.Parse(column + " like " + query.Text(found.Like(begin)+"%") + ` escape '\'`)
		if err != nil {
			return nil, err
		}
	}
	err = a.rows(ctx, []string{column}, mostWords, func(r query.Row) error {
		texts = append(texts, r.Cells[0].Text())
		return nil
	})
	slices.Sort(texts)
	return slices.Compact(texts), err
}

// columnWords are the names of columns as expressions and lists spell them.
func columnWords(_ context.Context, ans *answer, _ string) ([]string, error) {
	names := slices.Concat(query.FixedColumns, ans.src.Columns())
	for i, name := range names {
		names[i] = query.SpellName(name)
	}
	return names, nil
}

// metricWords are the metrics by their short names, and by the long ones to those who begin so.
func metricWords(_ context.Context, ans *answer, begin string) (names []string, err error) {
	for _, name := range ans.src.Columns() {
		if short, is := strings.CutPrefix(name, "metrics."); is && strings.HasPrefix(begin, "m") && strings.HasPrefix(name, begin) {
			names = append(names, name)
		} else if is {
			names = append(names, short)
		}
	}
	return names, nil
}

// listWords are those of the last name of a list.
func listWords(of words) words {
	return func(ctx context.Context, ans *answer, begin string) ([]string, error) {
		before := begin[:strings.LastIndexByte(begin, ',')+1]
		if strings.HasPrefix(begin[len(before):], "-") {
			before += "-"
		}
		names, err := of(ctx, ans, begin[len(before):])
		for i := range names {
			names[i] = before + names[i]
		}
		return names, err
	}
}
