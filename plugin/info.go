package plugin

import (
	"context"
	"runtime/debug"
	"slices"

	"go.temporal.io/server/common/metrics"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"

	"github.com/temporal-vitess/temporal-vitess/schema"
)

// modulePath is the path of this module, as the go command records it.
const modulePath = "github.com/temporal-vitess/temporal-vitess"

// info is a gauge that is 1 for the versions in use: of this plugin, of the schema that it needs, and of the vtgate, "" for
// a MySQL without Vitess. One goroutine reports it.
type info struct {
	schema string
	last   []metrics.Tag
}

func newInfo(kind sqlplugin.DbKind) *info {
	switch kind {
	case sqlplugin.DbKindMain:
		return &info{schema: schema.MainVersion}
	case sqlplugin.DbKindVisibility:
		return &info{schema: schema.VisibilityVersion}
	default:
		return &info{}
	}
}

// report records the versions. If the vtgate does not tell its own, what was recorded stays.
func (i *info) report(handler metrics.Handler, vitessVersion func(context.Context) (string, error)) {
	vitess, err := vitessVersion(context.Background())
	if err != nil {
		return
	}
	tags := []metrics.Tag{
		metrics.StringTag("plugin", pluginVersion()),
		metrics.StringTag("schema", i.schema),
		metrics.StringTag("vitess", vitess),
	}
	if i.last != nil && !slices.Equal(i.last, tags) {
		handler.WithTags(i.last...).Gauge("vitess_info").Record(0)
	}
	handler.WithTags(tags...).Gauge("vitess_info").Record(1)
	i.last = tags
}

// pluginVersion returns the version of this module in the running program.
func pluginVersion() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	if build.Main.Path == modulePath {
		return build.Main.Version
	}
	for _, dependency := range build.Deps {
		if dependency.Path == modulePath {
			return dependency.Version
		}
	}
	return ""
}
