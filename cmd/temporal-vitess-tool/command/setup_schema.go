package command

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

func setupSchemaCommand() *cli.Command {
	return &cli.Command{
		Name:      "setup-schema",
		Aliases:   []string{"setup"},
		Usage:     "write the SQL and VSchema of new keyspaces at the newest schema version, a file of each for a keyspace",
		ArgsUsage: " ",
		Flags: []cli.Flag{
			&cli.StringFlag{Name: "emit", Usage: "folder to write into", Required: true},
		},
		Before: noArguments,
		Action: func(c *cli.Context) error {
			t, err := newTarget(c)
			if err != nil {
				return err
			}
			return emit(c.App, c.String("emit"), t)
		},
	}
}

// emit writes <keyspace>.sql and <keyspace>.vschema.json of each keyspace.
func emit(app *cli.App, folder string, t *target) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	for _, role := range vschema.Roles() {
		name := t.Keyspaces[role]
		placement, err := vschema.JSON(role, t.Profile)
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
			statements = append(statements, schema.Version(vschema.Main, t.Keyspaces[vschema.Main]))
		case vschema.Visibility:
			statements = append(statements, schema.Version(role, name))
		}
		for file, data := range map[string]string{
			name + ".sql":          strings.Join(statements, ";\n\n") + ";\n",
			name + ".vschema.json": string(placement),
		} {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(data), 0o644); err != nil {
				return err
			}
		}
		fmt.Fprintf(app.Writer, "%s: %d statements and the VSchema of keyspace %s\n", folder, len(statements), name)
	}
	return nil
}
