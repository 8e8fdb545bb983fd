package live

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/pflag"
	"google.golang.org/grpc/grpclog"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/vtctl/grpcclientcommon"
	_ "vitess.io/vitess/go/vt/vtctl/grpcvtctldclient" // registers the protocol
	"vitess.io/vitess/go/vt/vtctl/vtctldclient"
)

// Vitess' client has gRPC write its own log to stderr, of all connections of the program, among what that prints. Errors
// reach callers anyway.
func init() {
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(io.Discard, io.Discard, io.Discard))
}

// VTCtldFlags are Vitess' own flags for TLS to vtctld, as vtctldclient has them: vtctld-grpc-ca and so on. Their values
// are Vitess' globals.
func VTCtldFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("vtctld", pflag.ContinueOnError)
	grpcclientcommon.RegisterFlags(flags)
	return flags
}

// vtctldTimeout bounds how long the client tries, whatever the error is.
const vtctldTimeout = 10 * time.Second

func dialVTCtld(ctx context.Context, address string) (vtctldclient.VtctldClient, error) {
	ctx, cancel := context.WithTimeout(ctx, vtctldTimeout)
	defer cancel()
	client, err := vtctldclient.New(ctx, "grpc", address)
	if err != nil {
		return nil, explainVTCtld(address, err)
	}
	if _, err := client.GetKeyspaces(ctx, &vtctldatapb.GetKeyspacesRequest{}); err != nil {
		return nil, errors.Join(explainVTCtld(address, err), client.Close())
	}
	return client, nil
}

func explainVTCtld(address string, err error) error {
	return fmt.Errorf("vtctld at %s: %w: check --vtctld (host:port of vtctld's gRPC) and --vtctld-grpc-ca", address, err)
}
