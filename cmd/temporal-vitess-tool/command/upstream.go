package command

import (
	"errors"
	"fmt"
	"slices"

	"github.com/urfave/cli/v2"
	"go.temporal.io/server/common/persistence/sql/sqlplugin/mysql"
	upstream "go.temporal.io/server/tools/common/schema"

	"github.com/temporal-vitess/temporal-vitess/plugin"
)

// This file is for scripts that were written for temporal-sql-tool (tools/sql/main.go): what means the same here is taken,
// and the rest answers with what to do instead.

// upstreamFlags are the flags before the command that mean nothing more here than they say.
func upstreamFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: upstream.CLIOptPluginName, Aliases: []string{"pl"}, Value: plugin.Name, Usage: "mysql8 or vitess: taken for temporal-sql-tool's sake", EnvVars: []string{"SQL_PLUGIN"}},
		&cli.BoolFlag{Name: upstream.CLIOptQuiet, Aliases: []string{"q"}, Usage: "exit with 0 after an error too"},
	}
}

func checkPlugin(c *cli.Context) error {
	if name := c.String(upstream.CLIOptPluginName); !slices.Contains([]string{plugin.Name, mysql.PluginName}, name) {
		return fmt.Errorf("--%s is %q, but this tool is for Vitess and MySQL: leave it out, or give %s", upstream.CLIOptPluginName, name, mysql.PluginName)
	}
	return nil
}

// upstreamCommands are temporal-sql-tool's that this tool does not have.
func upstreamCommands() []*cli.Command {
	instead := func(name, alias, do string) *cli.Command {
		return &cli.Command{
			Name: name, Aliases: []string{alias}, Hidden: true, SkipFlagParsing: true,
			Action: func(*cli.Context) error { return errors.New(name + ": " + do) },
		}
	}
	return []*cli.Command{
		instead("create-database", "create", "this tool makes no keyspaces: create those that setup-schema asks for with vtctldclient CreateKeyspace, with their vttablets, or with your provider's console"),
		instead("drop-database", "drop", "this tool drops nothing: delete keyspaces with vtctldclient DeleteKeyspace --recursive, or with your provider's console"),
	}
}

// otherFlags are those of temporal-sql-tool's commands with the same names, and what to do instead.
var otherFlags = []struct {
	flag cli.Flag
	do   string
}{
	{&cli.StringFlag{Name: upstream.CLIOptSchemaFile, Aliases: []string{"f"}, Hidden: true}, "the tool has the schema in it: leave the flag out"},
	{&cli.StringFlag{Name: upstream.CLIOptSchemaDir, Aliases: []string{"d"}, Hidden: true}, "the tool has the schema in it: leave the flag out"},
	{&cli.StringFlag{Name: upstream.CLIOptSchemaName, Aliases: []string{"s"}, Hidden: true}, "the tool has the schema in it: give --" + flagStore + " main or visibility instead, with the keyspaces in --" + flagKeyspace + " and --" + flagVisibility},
	{&cli.BoolFlag{Name: upstream.CLIOptDisableVersioning, Aliases: []string{"d"}, Hidden: true}, "a server starts on tables with a version only: leave the flag out"},
	{&cli.BoolFlag{Name: upstream.CLIOptOverwrite, Aliases: []string{"o"}, Hidden: true}, "this tool drops no tables: take empty keyspaces"},
}

// withOtherFlags adds to a command those of otherFlags that upstream's has.
func withOtherFlags(flags []cli.Flag, names ...string) []cli.Flag {
	for _, other := range otherFlags {
		if slices.Contains(names, other.flag.Names()[0]) {
			flags = append(flags, other.flag)
		}
	}
	return flags
}

// noOtherFlags refuses otherFlags, and arguments.
func noOtherFlags(c *cli.Context) error {
	for _, other := range otherFlags {
		if name := other.flag.Names()[0]; c.IsSet(name) {
			return fmt.Errorf("--%s: %s", name, other.do)
		}
	}
	return noArguments(c)
}
