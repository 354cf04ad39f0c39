package main

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
	"github.com/runfold/runfold/compactor/lock"
	"github.com/runfold/runfold/internal/terminal"
)

// newLogger writes to w in JSON or for people. Nothing is sampled away: a warning that repeats is a
// fact that repeats. The log is for operators; what counts as audit trail is the manifests.
func newLogger(w io.Writer, format string, level zapcore.LevelEnabler) (*zap.Logger, error) {
	enc := zap.NewProductionEncoderConfig()
	enc.TimeKey = "time"
	enc.EncodeTime = func(t time.Time, e zapcore.PrimitiveArrayEncoder) {
		e.AppendString(t.UTC().Format(time.RFC3339Nano))
	}
	enc.EncodeDuration = zapcore.StringDurationEncoder
	sink := zapcore.Lock(zapcore.AddSync(w))
	switch format {
	case "json":
		return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(enc), sink, level)), nil
	case "console":
		return zap.New(plainCore{zapcore.NewCore(zapcore.NewConsoleEncoder(enc), sink, level)}), nil
	}
	return nil, fmt.Errorf("--log-format %q is not json or console", format)
}

// logNotice writes a notice at its level.
func logNotice(log *zap.Logger, n compactor.Notice) {
	if e := log.Check(levelOf(n), n.String()); e != nil {
		e.Write()
	}
}

// levelOf maps each kind of notice to a level. A kind that is not listed, such as one that came later, is a warning: somebody
// should hear of it, and it is no damage.
func levelOf(n compactor.Notice) zapcore.Level {
	switch n.(type) {
	case generation.Published:
		return zapcore.DebugLevel
	case generation.Conflicted, compactor.Unknown, compactor.Reaped, compactor.Rewritten, lock.Back, lock.Waiting:
		return zapcore.InfoLevel
	case compactor.DamagedBytes, compactor.SkippedStream, generation.NotOurs:
		return zapcore.ErrorLevel
	}
	return zapcore.WarnLevel
}

// plainCore writes messages in which all shows as itself: a console shows them as they are.
type plainCore struct{ zapcore.Core }

func (c plainCore) With(fields []zapcore.Field) zapcore.Core { return plainCore{c.Core.With(fields)} }

func (c plainCore) Check(e zapcore.Entry, to *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(e.Level) {
		return to
	}
	return to.AddCore(e, c)
}

func (c plainCore) Write(e zapcore.Entry, fields []zapcore.Field) error {
	e.Message = terminal.Line(e.Message)
	return c.Core.Write(e, fields)
}

// reportFields are the figures of one fold.
func reportFields(r compactor.Report) []zap.Field {
	return []zap.Field{
		zap.Uint64("generation", uint64(r.Generation)), zap.Int64("rows", r.Rows), zap.Int("records", r.Records),
		zap.Int("added", r.Added), zap.Int("replaced", r.Replaced), zap.Int("superseded", r.Superseded),
		zap.Int("duplicates", r.Duplicates), zap.Int("withdrawn", r.Withdrawn), zap.Int("returned", r.Returned), zap.Int("commits", r.Commits), zap.Int("swept_streams", r.Swept),
		zap.Int("reaped_streams", r.Reaped), zap.Int("torn_tails", r.TornTails),
		zap.Int("damage", r.Damage), zap.Int("skipped_streams", r.Skipped), zap.Int("unseen_streams", r.Unseen), zap.Int("delta_failed", r.DeltaFailed), zap.Duration("elapsed", r.Elapsed),
	}
}
