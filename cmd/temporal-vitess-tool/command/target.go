package command

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/resolver"
	"go.temporal.io/server/temporal/environment"
	upstream "go.temporal.io/server/tools/common/schema"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/internal/vtgates"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

// Flags that are not upstream's.
const (
	flagPasswordCommand   = "password-command"
	flagKeyspace          = "keyspace"
	flagGlobalKeyspace    = "global-keyspace"
	flagVisibility        = "visibility-keyspace"
	flagVisibilityProfile = "visibility-profile"
	flagVTCtld            = "vtctld"
)

// targetFlags are those before the command, as with temporal-sql-tool: how to reach vtgate, with upstream's names
// (tools/sql/main.go), which keyspaces, and where vtctld is.
func targetFlags() []cli.Flag {
	flags := []cli.Flag{
		&cli.StringFlag{Name: upstream.CLIOptEndpoint, Aliases: []string{"ep"}, Value: environment.GetMySQLAddress(), Usage: "hostname or IP address of vtgate", EnvVars: []string{"SQL_HOST"}},
		&cli.IntFlag{Name: upstream.CLIOptPort, Aliases: []string{"p"}, Value: environment.GetMySQLPort(), Usage: "port on which vtgate speaks the MySQL protocol", EnvVars: []string{"SQL_PORT"}},
		&cli.StringFlag{Name: upstream.CLIOptUser, Aliases: []string{"u"}, Usage: "user name", EnvVars: []string{"SQL_USER"}},
		&cli.StringFlag{Name: upstream.CLIOptPassword, Aliases: []string{"pw"}, Usage: "password", EnvVars: []string{"SQL_PASSWORD"}},
		&cli.StringFlag{Name: flagPasswordCommand, Usage: "command, run by sh, whose output is the password", EnvVars: []string{"SQL_PASSWORD_COMMAND"}},
		&cli.StringFlag{Name: upstream.CLIOptConnectAttributes, Aliases: []string{"ca"}, Usage: "connect attributes, as a URL's query", EnvVars: []string{"SQL_CONNECT_ATTRIBUTES"}},
		&cli.BoolFlag{Name: upstream.CLIFlagEnableTLS, Usage: "use TLS", EnvVars: []string{"SQL_TLS"}},
		&cli.StringFlag{Name: upstream.CLIFlagTLSCertFile, Usage: "file with the client's certificate", EnvVars: []string{"SQL_TLS_CERT_FILE"}},
		&cli.StringFlag{Name: upstream.CLIFlagTLSKeyFile, Usage: "file with the client's key", EnvVars: []string{"SQL_TLS_KEY_FILE"}},
		&cli.StringFlag{Name: upstream.CLIFlagTLSCaFile, Usage: "file with the certificates to trust", EnvVars: []string{"SQL_TLS_CA_FILE"}},
		&cli.StringFlag{Name: upstream.CLIFlagTLSHostName, Usage: "name in vtgate's certificate, if not the endpoint", EnvVars: []string{"SQL_TLS_SERVER_NAME"}},
		&cli.BoolFlag{Name: upstream.CLIFlagTLSDisableHostVerification, Usage: "do not verify vtgate's certificate", EnvVars: []string{"SQL_TLS_DISABLE_HOST_VERIFICATION"}},

		&cli.StringFlag{Name: flagKeyspace, Aliases: []string{upstream.CLIOptDatabase, "db"}, Value: string(vschema.Main), Usage: "keyspace of the main store, sharded unless it is the global one too", EnvVars: []string{"SQL_DATABASE"}},
		&cli.StringFlag{Name: flagGlobalKeyspace, Usage: "unsharded keyspace of the main store (default: --keyspace with _global after it)", EnvVars: []string{"VITESS_GLOBAL_KEYSPACE"}},
		&cli.StringFlag{Name: flagVisibility, Usage: "keyspace of the visibility store, sharded unless it is another's too (default: --keyspace with _visibility after it)", EnvVars: []string{"VITESS_VISIBILITY_KEYSPACE"}},
		&cli.StringFlag{Name: flagVisibilityProfile, Value: string(vschema.ProfileNamespace), Usage: "VSchema profile of the visibility store: namespace or spread", EnvVars: []string{"VITESS_VISIBILITY_PROFILE"}},
		&cli.StringFlag{Name: flagVTCtld, Usage: "host:port of vtctld's gRPC, where there is one to reach", EnvVars: []string{"VTCTLD"}},
	}
	live.VTCtldFlags().VisitAll(func(flag *pflag.Flag) {
		flags = append(flags, &cli.StringFlag{Name: flag.Name, Usage: "vtctld: " + flag.Usage})
	})
	return flags
}

// target is the set of keyspaces that a command is about, and how to reach them.
type target struct {
	// Keyspaces are their names, which may be equal: in an unsharded keyspace, or a database without Vitess, all tables have
	// their place.
	Keyspaces map[vschema.Role]string
	// Profile of the visibility keyspace.
	Profile vschema.Profile
	// vtgate is how to reach vtgate, without a default keyspace.
	vtgate config.SQL
	vtctld string
}

// newTarget reads the flags. An impossible one is an error that names it.
func newTarget(c *cli.Context) (*target, error) {
	main := c.String(flagKeyspace)
	t := &target{
		Keyspaces: map[vschema.Role]string{
			vschema.Main:       main,
			vschema.Global:     main + "_global",
			vschema.Visibility: main + "_visibility",
		},
		Profile: vschema.Profile(c.String(flagVisibilityProfile)),
		vtctld:  c.String(flagVTCtld),
	}
	if host, port, err := vtgates.SplitHostPort(t.vtctld); err == nil {
		t.vtctld = net.JoinHostPort(host, port)
	}
	if name := c.String(flagGlobalKeyspace); name != "" {
		t.Keyspaces[vschema.Global] = name
	}
	if name := c.String(flagVisibility); name != "" {
		t.Keyspaces[vschema.Visibility] = name
	}
	for _, name := range t.Keyspaces {
		if name == "" || strings.ContainsAny(name, "`:/@") {
			return nil, fmt.Errorf("--%s: %q is not the name of a keyspace", flagKeyspace, name)
		}
	}
	if _, err := vschema.JSON(vschema.Visibility, t.Profile); err != nil {
		return nil, fmt.Errorf("--%s: %w", flagVisibilityProfile, err)
	}
	if err := t.readConnection(c); err != nil {
		return nil, err
	}
	return t, nil
}

func (t *target) readConnection(c *cli.Context) error {
	t.vtgate = config.SQL{
		PluginName:        plugin.Name,
		ConnectProtocol:   "tcp",
		ConnectAddr:       net.JoinHostPort(vtgates.Host(c.String(upstream.CLIOptEndpoint)), strconv.Itoa(c.Int(upstream.CLIOptPort))),
		User:              c.String(upstream.CLIOptUser),
		Password:          c.String(upstream.CLIOptPassword),
		ConnectAttributes: map[string]string{},
	}
	if command := c.String(flagPasswordCommand); command != "" {
		if t.vtgate.Password != "" {
			return fmt.Errorf("--%s and --%s exclude each other", upstream.CLIOptPassword, flagPasswordCommand)
		}
		t.vtgate.PasswordCommand = &config.PasswordCommandConfig{Command: "sh", Args: []string{"-c", command}}
	}
	attributes, err := url.ParseQuery(c.String(upstream.CLIOptConnectAttributes))
	if err != nil {
		return fmt.Errorf("--%s: %w", upstream.CLIOptConnectAttributes, err)
	}
	for name, values := range attributes {
		if len(values) > 1 {
			return fmt.Errorf("--%s: %s is given %d times", upstream.CLIOptConnectAttributes, name, len(values))
		}
		t.vtgate.ConnectAttributes[name] = values[0]
	}
	if c.Bool(upstream.CLIFlagEnableTLS) {
		t.vtgate.TLS = &auth.TLS{
			Enabled:                true,
			CertFile:               c.String(upstream.CLIFlagTLSCertFile),
			KeyFile:                c.String(upstream.CLIFlagTLSKeyFile),
			CaFile:                 c.String(upstream.CLIFlagTLSCaFile),
			ServerName:             c.String(upstream.CLIFlagTLSHostName),
			EnableHostVerification: !c.Bool(upstream.CLIFlagTLSDisableHostVerification),
		}
	} else {
		for _, name := range []string{upstream.CLIFlagTLSCertFile, upstream.CLIFlagTLSKeyFile, upstream.CLIFlagTLSCaFile, upstream.CLIFlagTLSHostName} {
			if c.String(name) != "" {
				return fmt.Errorf("--%s is of no use without --%s", name, upstream.CLIFlagEnableTLS)
			}
		}
	}
	var problems []error
	live.VTCtldFlags().VisitAll(func(flag *pflag.Flag) {
		if value := c.String(flag.Name); value != "" {
			if err := flag.Value.Set(value); err != nil {
				problems = append(problems, fmt.Errorf("--%s: %w", flag.Name, err))
			}
		}
	})
	return errors.Join(problems...)
}

// open connects. The caller closes.
func (t *target) open(c *cli.Context) (*live.Vitess, error) {
	vtgate, err := plugin.NewConnector(&t.vtgate, resolver.NewNoopResolver())
	if err != nil {
		return nil, err
	}
	return live.Open(c.Context, vtgate, t.vtctld)
}

// openServer connects to vtgate, or to a MySQL server without Vitess. The caller closes.
func (t *target) openServer(c *cli.Context) (*live.Vitess, error) {
	server, err := plugin.NewConnector(&t.vtgate, resolver.NewNoopResolver())
	if err != nil {
		return nil, err
	}
	return live.OpenServer(c.Context, server, t.vtctld)
}

// store configures a store on the keyspaces through the plugin, as a server would.
func (t *target) store(role vschema.Role) *config.SQL {
	cfg := t.vtgate
	cfg.DatabaseName = t.Keyspaces[role]
	cfg.ConnectAttributes = map[string]string{}
	for name, value := range t.vtgate.ConnectAttributes {
		cfg.ConnectAttributes[name] = value
	}
	if role == vschema.Visibility {
		cfg.ConnectAttributes["vitess_visibility_profile"] = string(t.Profile)
	} else {
		cfg.ConnectAttributes["vitess_global_keyspace"] = t.Keyspaces[vschema.Global]
	}
	return &cfg
}
