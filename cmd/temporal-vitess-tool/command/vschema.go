package command

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"

	"github.com/temporal-vitess/temporal-vitess/internal/compare"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	flagVindexFunction = "vindex-function"
	flagOutput         = "output"
)

func vschemaCommand() *cli.Command {
	function := &cli.StringFlag{Name: flagVindexFunction, Usage: "vindex function for history shards and task queues, such as reverse_bits, xxhash or hash (default: what the live VSchema has, or else reverse_bits)"}
	const keyspaces = "[keyspace...]"
	return &cli.Command{
		Name:  "vschema",
		Usage: "print, compare or apply the VSchema of the keyspaces: which column decides the Vitess shard of a row",
		Subcommands: []*cli.Command{
			{
				Name:      "print",
				Usage:     "print the VSchema that Temporal needs, without connecting: of one keyspace as vtctldclient ApplyVSchema takes it, of several by name",
				ArgsUsage: keyspaces,
				Flags:     []cli.Flag{function},
				Action:    printVSchema,
			},
			{
				Name:      "diff",
				Usage:     "print what differs in the live VSchema; fails if anything does",
				ArgsUsage: keyspaces,
				Flags: []cli.Flag{
					function,
					&cli.BoolFlag{Name: "ignore-unknown", Usage: "do not fail for tables and vindexes that are not Temporal's"},
					&cli.StringFlag{Name: flagOutput, Value: "text", Usage: "text or json"},
				},
				Action: diffVSchema,
			},
			{
				Name:      "apply",
				Usage:     "add what the live VSchema lacks, through vtctld if --vtctld is given, else by vtgate's ALTER VSCHEMA",
				ArgsUsage: keyspaces,
				Flags: []cli.Flag{
					function,
					&cli.BoolFlag{Name: "yes", Usage: "also change the vindexes of tables that are in the live VSchema; never of tables with rows that would be lost"},
					&cli.BoolFlag{Name: "drop-unknown", Usage: "remove tables and vindexes that are not Temporal's from the live VSchema"},
					&cli.StringFlag{Name: flagEmit, Usage: "folder to write the changes into, instead of making them: <keyspace>.vschema.sql and, with --vtctld, <keyspace>.vschema.json"},
				},
				Action: applyVSchema,
			},
		},
	}
}

// chosenKeyspaces are those that the arguments name: all if there are none.
func chosenKeyspaces(c *cli.Context, t *target) ([]string, error) {
	var names []string
	for _, role := range vschema.Roles() {
		if !slices.Contains(names, t.Keyspaces[role]) {
			names = append(names, t.Keyspaces[role])
		}
	}
	if !c.Args().Present() {
		return names, nil
	}
	for _, name := range c.Args().Slice() {
		if !slices.Contains(names, name) {
			return nil, fmt.Errorf("%q is none of the keyspaces %s, %s and %s: name them with --%s, --%s and --%s; flags go before arguments", name,
				t.Keyspaces[vschema.Main], t.Keyspaces[vschema.Global], t.Keyspaces[vschema.Visibility], flagKeyspace, flagGlobalKeyspace, flagVisibility)
		}
	}
	return c.Args().Slice(), nil
}

func printVSchema(c *cli.Context) error {
	t, err := newTarget(c)
	if err != nil {
		return err
	}
	keyspaces, err := chosenKeyspaces(c, t)
	if err != nil {
		return err
	}
	all := make(map[string]json.RawMessage)
	for _, name := range keyspaces {
		wanted, err := compare.WantedOf(vschema.RolesIn(t.Keyspaces, name), t.Profile, c.String(flagVindexFunction))
		if err != nil {
			return err
		}
		text, err := vschemaJSON(wanted)
		if err != nil {
			return err
		}
		all[name] = text
		if len(keyspaces) == 1 {
			_, err := c.App.Writer.Write(text)
			return err
		}
	}
	return printJSON(c, all)
}

// vschemaJSON is a VSchema as vtctldclient ApplyVSchema takes it.
func vschemaJSON(keyspace *vschemapb.Keyspace) ([]byte, error) {
	compact, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(keyspace)
	if err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, compact, "", "  "); err != nil {
		return nil, err
	}
	text.WriteByte('\n')
	return text.Bytes(), nil
}

func printJSON(c *cli.Context, value any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false) // statements have < and >
	return encoder.Encode(value)
}

// connectTo connects, and returns the names of the keyspaces that the arguments name. The caller closes the connection
// unless there is an error.
func connectTo(c *cli.Context) (*target, *live.Vitess, []string, error) {
	t, err := newTarget(c)
	if err != nil {
		return nil, nil, nil, err
	}
	keyspaces, err := chosenKeyspaces(c, t)
	if err != nil {
		return nil, nil, nil, err
	}
	vitess, err := t.open(c)
	if err != nil {
		return nil, nil, nil, err
	}
	if !vitess.SeesWholeVSchema() {
		fmt.Fprintf(c.App.ErrWriter, "vtgate does not show sequences, types of tables and column lists: give --%s to see them\n", flagVTCtld)
	}
	return t, vitess, keyspaces, nil
}

func diffVSchema(c *cli.Context) error {
	if err := checkOutput(c); err != nil {
		return err
	}
	output := c.String(flagOutput)
	t, vitess, keyspaces, err := connectTo(c)
	if err != nil {
		return err
	}
	defer vitess.Close()
	type result struct {
		Keyspace    string               `json:"keyspace"`
		Whole       bool                 `json:"whole"` // false if vtgate could not show all of the VSchema
		Differences []compare.Difference `json:"differences"`
	}
	results := []result{}
	different, unknown := 0, 0
	for _, name := range keyspaces {
		change, err := vitess.CompareVSchema(c.Context, name, vschema.RolesIn(t.Keyspaces, name), live.VSchemaOptions{Profile: t.Profile, Function: c.String(flagVindexFunction)})
		if err != nil {
			return err
		}
		differences := change.Differences
		if differences == nil {
			differences = []compare.Difference{}
		}
		results = append(results, result{change.Keyspace, vitess.SeesWholeVSchema(), differences})
		for _, d := range change.Differences {
			if d.Unknown() {
				unknown++
			} else {
				different++
			}
		}
		if output == "text" {
			printDifferences(c, change)
		}
	}
	if output == "json" {
		if err := printJSON(c, results); err != nil {
			return err
		}
	}
	switch {
	case different > 0:
		return fmt.Errorf("the live VSchema differs: %d to mend with vschema apply, %d unknown", different, unknown)
	case unknown > 0 && !c.Bool("ignore-unknown"):
		return fmt.Errorf("the live VSchema has all that Temporal needs, and %d that it does not know: --ignore-unknown accepts what others have there, vschema apply --drop-unknown removes it", unknown)
	}
	return nil
}

func checkOutput(c *cli.Context) error {
	if output := c.String(flagOutput); output != "text" && output != "json" {
		return fmt.Errorf("--%s: %q is neither text nor json", flagOutput, output)
	}
	return nil
}

func printDifferences(c *cli.Context, change *live.VSchemaChange) {
	if len(change.Differences) == 0 {
		fmt.Fprintf(c.App.Writer, "keyspace %s: as it should be\n", change.Keyspace)
		return
	}
	fmt.Fprintf(c.App.Writer, "keyspace %s:\n", change.Keyspace)
	for _, line := range compare.Lines(change.Differences) {
		fmt.Fprintf(c.App.Writer, "  %s\n", line)
	}
}

func applyVSchema(c *cli.Context) error {
	t, vitess, keyspaces, err := connectTo(c)
	if err != nil {
		return err
	}
	defer vitess.Close()
	apply := func() error { return applyTo(c, t, vitess, keyspaces) }
	if c.IsSet(flagEmit) {
		return apply()
	}
	return inTurn(c, vitess, apply)
}

// applyTo makes the changes of all keyspaces if all of them can be made.
func applyTo(c *cli.Context, t *target, vitess *live.Vitess, keyspaces []string) error {
	options := live.VSchemaOptions{Profile: t.Profile, Function: c.String(flagVindexFunction), DropUnknown: c.Bool("drop-unknown")}
	var changes []*live.VSchemaChange
	var moving, unknown int
	for _, name := range keyspaces {
		change, err := vitess.CompareVSchema(c.Context, name, vschema.RolesIn(t.Keyspaces, name), options)
		if err != nil {
			return err
		}
		if !c.IsSet(flagEmit) {
			if change, err = vitess.Current(c.Context, change); err != nil {
				return err
			}
		}
		changes = append(changes, change)
		if len(change.Differences) > 0 {
			printDifferences(c, change)
		}
		if err := vitess.CheckVSchema(c.Context, change); err != nil {
			return err
		}
		for _, d := range change.Differences {
			switch {
			case d.MovesRows():
				moving++
			case d.Unknown() && !options.DropUnknown:
				unknown++
			}
		}
	}
	if unknown > 0 {
		fmt.Fprintf(c.App.ErrWriter, "what is unknown stays: --drop-unknown removes it from the VSchema\n")
	}
	if moving > 0 && !c.Bool("yes") && !c.IsSet(flagEmit) {
		return fmt.Errorf("nothing has been done, since tables in the VSchema would get another vindex (%d): look at the differences, then repeat with --yes", moving)
	}
	for _, change := range changes {
		if err := applyChange(c, vitess, change); err != nil {
			return err
		}
	}
	return nil
}

// applyChange makes one keyspace's change, or writes it down with --emit.
func applyChange(c *cli.Context, vitess *live.Vitess, change *live.VSchemaChange) error {
	if change.Nothing() {
		fmt.Fprintf(c.App.Writer, "keyspace %s: nothing to do\n", change.Keyspace)
		return nil
	}
	if folder := c.String(flagEmit); folder != "" {
		return emitVSchema(c, folder, vitess, change)
	}
	if err := vitess.ApplyVSchema(c.Context, change); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "keyspace %s: applied, and served by vtgate\n", change.Keyspace)
	return nil
}

func emitVSchema(c *cli.Context, folder string, vitess *live.Vitess, change *live.VSchemaChange) error {
	if proto.Equal(change.Live, change.Target) {
		fmt.Fprintf(c.App.Writer, "keyspace %s: the topology has it all, for vtctldclient RebuildVSchemaGraph\n", change.Keyspace)
		return nil
	}
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	path := filepath.Join(folder, change.Keyspace+".vschema")
	if vitess.SeesWholeVSchema() {
		text, err := vschemaJSON(change.Target)
		if err != nil {
			return err
		}
		if err := os.WriteFile(path+".json", text, 0o644); err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "%s.json: for vtctldclient ApplyVSchema --vschema-file\n", path)
	}
	statements, err := live.AlterStatements(change.Keyspace, change.Live, change.Target)
	if err != nil {
		if vitess.SeesWholeVSchema() {
			return nil // the JSON says it all
		}
		return err
	}
	if err := os.WriteFile(path+".sql", []byte(strings.Join(statements, ";\n")+";\n"), 0o644); err != nil {
		return err
	}
	fmt.Fprintf(c.App.Writer, "%s.sql: %d ALTER VSCHEMA for vtgate\n", path, len(statements))
	return nil
}
