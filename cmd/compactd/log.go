package main

import (
	"fmt"
	"io"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/runfold/runfold/compactor"
	"github.com/runfold/runfold/compactor/generation"
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
	var encoder zapcore.Encoder
	switch format {
	case "json":
		encoder = zapcore.NewJSONEncoder(enc)
	case "console":
		encoder = zapcore.NewConsoleEncoder(enc)
	default:
		return nil, fmt.Errorf("--log-format %q is not json or console", format)
	}
	return zap.New(zapcore.NewCore(encoder, zapcore.Lock(zapcore.AddSync(w)), level)), nil
}

// logNotice maps each kind of notice to a level.
func logNotice(log *zap.Logger, n compactor.Notice) {
	switch n := n.(type) {
	case generation.Published:
		log.Debug(n.String())
	case generation.Conflicted, compactor.Unknown, compactor.Reaped, compactor.Rewritten:
		log.Info(n.String())
	case compactor.DamagedBytes, compactor.SkippedStream:
		log.Error(n.String())
	default:
		log.Warn(n.String())
	}
}

// reportFields are the figures of one fold.
func reportFields(r compactor.Report) []zap.Field {
	return []zap.Field{
		zap.Uint64("generation", uint64(r.Generation)), zap.Int64("rows", r.Rows), zap.Int("records", r.Records),
		zap.Int("added", r.Added), zap.Int("replaced", r.Replaced), zap.Int("superseded", r.Superseded),
		zap.Int("duplicates", r.Duplicates), zap.Int("commits", r.Commits), zap.Int("swept_streams", r.Swept),
		zap.Int("reaped_streams", r.Reaped), zap.Int("torn_tails", r.TornTails),
		zap.Int("damage", r.Damage), zap.Int("skipped_streams", r.Skipped), zap.Duration("elapsed", r.Elapsed),
	}
}
