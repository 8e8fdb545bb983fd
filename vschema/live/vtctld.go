package live

import (
	"context"
	"fmt"

	"github.com/spf13/pflag"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/vtctl/grpcclientcommon"
	_ "vitess.io/vitess/go/vt/vtctl/grpcvtctldclient" // registers the protocol
	"vitess.io/vitess/go/vt/vtctl/vtctldclient"
)

// VTCtldFlags are Vitess' own flags for TLS to vtctld, as vtctldclient has them: vtctld-grpc-ca and so on. Their values
// are Vitess' globals.
func VTCtldFlags() *pflag.FlagSet {
	flags := pflag.NewFlagSet("vtctld", pflag.ContinueOnError)
	grpcclientcommon.RegisterFlags(flags)
	return flags
}

func dialVTCtld(ctx context.Context, address string) (vtctldclient.VtctldClient, error) {
	client, err := vtctldclient.New(ctx, "grpc", address)
	if err == nil {
		_, err = client.GetKeyspaces(ctx, &vtctldatapb.GetKeyspacesRequest{})
	}
	if err != nil {
		return nil, fmt.Errorf("vtctld at %s: %w: check --vtctld (vtctld's gRPC port) and --vtctld-grpc-ca", address, err)
	}
	return client, nil
}
