package server

import (
	"io"
	"os"

	"go.temporal.io/server/common/log"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

func newLogger(w io.Writer) log.Logger {
	level := zap.InfoLevel
	if w == nil {
		// The server goes on after a fatal error whose logger does not end the process, and panics elsewhere.
		w, level = os.Stderr, zap.FatalLevel
	}
	encoding := zap.NewProductionEncoderConfig()
	encoding.EncodeTime = zapcore.ISO8601TimeEncoder
	return log.NewZapLogger(zap.New(zapcore.NewCore(
		zapcore.NewJSONEncoder(encoding), zapcore.Lock(zapcore.AddSync(w)), level,
	)))
}
