package server

import (
	"io"

	"go.temporal.io/server/common/log"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func newLogger(w io.Writer) log.Logger {
	if w == nil {
		return log.NewNoopLogger()
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.ISO8601TimeEncoder
	return log.NewZapLogger(zap.New(zapcore.NewCore(
		zapcore.NewJSONEncoder(encoding), zapcore.Lock(zapcore.AddSync(w)), zap.InfoLevel,
	)))
}
