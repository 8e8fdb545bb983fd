// Command temporal-vitess-tool sets up the keyspaces of a Temporal cluster on Vitess.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/temporal-vitess/temporal-vitess/schema"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

func main() {
	if err := newApp().Run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, "temporal-vitess-tool:", err)
		os.Exit(1)
	}
}

func newApp() *cli.App {
	return &cli.App{
		Name:  "temporal-vitess-tool",
		Usage: "set up Temporal's keyspaces on Vitess",
		Commands: []*cli.Command{{
			Name:      "setup-schema",
			Usage:     "write the SQL and VSchema of new keyspaces at the newest schema version, a file of each for a keyspace",
			ArgsUsage: " ",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "emit", Usage: "folder to write into", Required: true},
				&cli.StringFlag{Name: "keyspace", Value: string(vschema.Main), Usage: "sharded keyspace of the main store"},
				&cli.StringFlag{Name: "global-keyspace", Value: string(vschema.Global), Usage: "unsharded keyspace of the main store"},
				&cli.StringFlag{Name: "visibility-keyspace", Value: string(vschema.Visibility), Usage: "sharded keyspace of the visibility store"},
				&cli.StringFlag{Name: "visibility-profile", Value: string(vschema.ProfileNamespace), Usage: "namespace or spread"},
			},
			Action: func(c *cli.Context) error {
				if c.Args().Present() {
					return fmt.Errorf("setup-schema takes no arguments, but got %q", c.Args().First())
				}
				return emit(c.App, c.String("emit"), vschema.Profile(c.String("visibility-profile")), map[vschema.Role]string{
					vschema.Main:       c.String("keyspace"),
					vschema.Global:     c.String("global-keyspace"),
					vschema.Visibility: c.String("visibility-keyspace"),
				})
			},
		}},
	}
}

// emit writes <keyspace>.sql and <keyspace>.vschema.json of each keyspace.
func emit(app *cli.App, folder string, profile vschema.Profile, names map[vschema.Role]string) error {
	taken := map[string]bool{}
	for _, name := range names {
		if taken[name] {
			return fmt.Errorf("two keyspaces are named %q: give each its own name (--keyspace, --global-keyspace, --visibility-keyspace)", name)
		}
		taken[name] = true
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, role := range vschema.Roles() {
		placement, err := vschema.JSON(role, profile)
		if err != nil {
			return err
		}
		keyspace, err := schema.Load(role)
		if err != nil {
			return err
		}
		statements := slices.Clone(keyspace.Statements)
		switch role {
		case vschema.Global: // has the main store's schema_version
			statements = append(statements, schema.Version(vschema.Main, names[vschema.Main]))
		case vschema.Visibility:
			statements = append(statements, schema.Version(role, names[role]))
		}
		for file, data := range map[string]string{
			names[role] + ".sql":          strings.Join(statements, ";\n\n") + ";\n",
			names[role] + ".vschema.json": string(placement),
		} {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(data), 0o644); err != nil {
				return err
			}
		}
		fmt.Fprintf(app.Writer, "%s: %d statements and the VSchema of keyspace %s\n", folder, len(statements), names[role])
	}
	return nil
}
