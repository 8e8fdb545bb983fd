package migrate

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"time"

	topodatapb "vitess.io/vitess/go/vt/proto/topodata"
	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/topo/topoproto"
)

// Attachment is a database of a MySQL server that is to be a keyspace: a vttablet in front of it serves it, and changes nothing
// else of the server.
type Attachment struct {
	// Keyspace is its name in Vitess, unsharded.
	Keyspace string `json:"keyspace"`
	Host     string `json:"host"`
	Port     int    `json:"port"`
	Database string `json:"database"`
	// User is MySQL's, for vttablet alone.
	User string `json:"user"`
	// Cell is where the vttablet runs; empty for the only one.
	Cell string `json:"cell"`
}

// Attached is how far an attachment is.
type Attached struct {
	Attachment
	// Serving tells that vtgate serves the database as the keyspace. Else there is something left to do.
	Serving bool `json:"serving"`
	// Tablet is the alias of the vttablet, or one for it that is free.
	Tablet string `json:"tablet"`
	// SQL makes the user with the rights that it takes, to be executed by an administrator of the MySQL server.
	SQL []string `json:"sql"`
	// Flags are those of vttablet, beside those of the topology and of ports. Credentials is the content of the file that one
	// of them names.
	Flags       []string `json:"flags"`
	Credentials string   `json:"credentials"`
	// Operator is a tablet pool for vitess-operator, in YAML.
	Operator string `json:"operator"`
}

// attachedShard is the Vitess shard of an unsharded keyspace.
const attachedShard = "0"

// Attach makes the keyspace if there is none and, once its vttablet is there, that one its primary, and waits until vtgate serves
// it. Without a vttablet it returns what that takes.
func (m *Migration) Attach(ctx context.Context, a Attachment, progress func(string)) (*Attached, error) {
	keyspaces, err := m.Vitess.VTCtld.GetKeyspaces(ctx, &vtctldatapb.GetKeyspacesRequest{})
	if err != nil {
		return nil, fmt.Errorf("keyspaces: %w", err)
	}
	if !slices.ContainsFunc(keyspaces.Keyspaces, func(k *vtctldatapb.Keyspace) bool { return k.Name == a.Keyspace }) {
		progress("making keyspace " + a.Keyspace)
		// A single tablet has nobody to acknowledge what it writes.
		_, err := m.Vitess.VTCtld.CreateKeyspace(ctx, &vtctldatapb.CreateKeyspaceRequest{Name: a.Keyspace, DurabilityPolicy: "none"})
		if err != nil {
			return nil, fmt.Errorf("keyspace %s: %w", a.Keyspace, err)
		}
	}
	tablets, err := m.Vitess.VTCtld.GetTablets(ctx, &vtctldatapb.GetTabletsRequest{})
	if err != nil {
		return nil, fmt.Errorf("tablets: %w", err)
	}
	done, err := m.describe(ctx, a, tablets.Tablets)
	if err != nil {
		return nil, err
	}
	var tablet *topodatapb.Tablet
	for _, t := range tablets.Tablets {
		if t.Keyspace != a.Keyspace {
			continue
		}
		if tablet != nil {
			return nil, fmt.Errorf("keyspace %s has several tablets: %s and %s; an attached MySQL has one", a.Keyspace, topoproto.TabletAliasString(tablet.Alias), topoproto.TabletAliasString(t.Alias))
		}
		tablet = t
	}
	if tablet == nil {
		return done, nil
	}
	done.Tablet = topoproto.TabletAliasString(tablet.Alias)
	if tablet.DbNameOverride != a.Database {
		return nil, fmt.Errorf("tablet %s serves the database %q, not %s: give its vttablet --init-db-name-override=%s", done.Tablet, tablet.DbNameOverride, a.Database, a.Database)
	}
	if tablet.Type != topodatapb.TabletType_PRIMARY {
		progress("making tablet " + done.Tablet + " the primary (TabletExternallyReparented)")
		if _, err := m.Vitess.VTCtld.TabletExternallyReparented(ctx, &vtctldatapb.TabletExternallyReparentedRequest{Tablet: tablet.Alias}); err != nil {
			return nil, fmt.Errorf("TabletExternallyReparented %s: %w", done.Tablet, err)
		}
	}
	progress("waiting until vtgate serves it")
	if err := m.awaitServed(ctx, a); err != nil {
		return nil, err
	}
	done.Serving = true
	return done, nil
}

// servedTimeout is longer than vtgate takes to find a new tablet, which is a minute by default.
const servedTimeout = 90 * time.Second

// awaitServed returns when vtgate reads the database as the keyspace, and its vttablet can run streams.
func (m *Migration) awaitServed(ctx context.Context, a Attachment) error {
	ctx, cancel := context.WithTimeout(ctx, servedTimeout)
	defer cancel()
	for {
		var database string
		err := m.Vitess.On(ctx, a.Keyspace, attachedShard, func(session *sql.Conn) error {
			return session.QueryRowContext(ctx, "SELECT DATABASE() FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name IN ('shards', 'executions_visibility') LIMIT 1").Scan(&database)
		})
		if err == nil { // VReplication begins after that, if the user may do with Vitess' own tables what it takes
			_, err = m.Vitess.VTCtld.GetWorkflows(ctx, &vtctldatapb.GetWorkflowsRequest{Keyspace: a.Keyspace})
		}
		if err == nil {
			return nil
		}
		if err == sql.ErrNoRows {
			return fmt.Errorf("keyspace %s serves database %s, which has none of Temporal's tables: check --database, and the rights of the user", a.Keyspace, a.Database)
		}
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return fmt.Errorf("keyspace %s is not served, or without VReplication: %w: check the rights of the user, see the log of its vttablet, and run migrate attach again",
				a.Keyspace, err)
		}
	}
}

// describe fills in what a vttablet takes.
func (m *Migration) describe(ctx context.Context, a Attachment, tablets []*topodatapb.Tablet) (*Attached, error) {
	if a.Cell == "" {
		cells, err := m.Vitess.VTCtld.GetCellInfoNames(ctx, &vtctldatapb.GetCellInfoNamesRequest{})
		if err != nil {
			return nil, fmt.Errorf("cells: %w", err)
		}
		if len(cells.Names) != 1 {
			return nil, fmt.Errorf("there are cells %s: say where the vttablet runs (--cell)", strings.Join(cells.Names, ", "))
		}
		a.Cell = cells.Names[0]
	}
	sidecar, err := m.sidecar(ctx, a.Keyspace)
	if err != nil {
		return nil, err
	}
	uid := uint32(1)
	for _, t := range tablets {
		uid = max(uid, t.Alias.GetUid()+1)
	}
	done := &Attached{Attachment: a, Tablet: topoproto.TabletAliasString(&topodatapb.TabletAlias{Cell: a.Cell, Uid: uid})}
	user := "'" + a.User + "'@'%'"
	done.SQL = []string{
		"CREATE USER IF NOT EXISTS " + user + " IDENTIFIED BY 'PASSWORD'",
		// What vttablet serves, and writes on the way back.
		"GRANT SELECT, INSERT, UPDATE, DELETE, LOCK TABLES ON `" + a.Database + "`.* TO " + user,
		"GRANT ALL ON `" + sidecar + "`.* TO " + user,
		"GRANT SELECT ON performance_schema.* TO " + user,
		"GRANT REPLICATION CLIENT, REPLICATION SLAVE, PROCESS ON *.* TO " + user,
	}
	done.Flags = []string{
		"--tablet-path=" + done.Tablet,
		"--init-keyspace=" + a.Keyspace, "--init-shard=" + attachedShard, "--init-tablet-type=replica",
		"--unmanaged",
		"--db-host=" + a.Host, fmt.Sprintf("--db-port=%d", a.Port), "--init-db-name-override=" + a.Database,
	}
	for _, kind := range []string{"app", "dba", "allprivs", "filtered", "repl", "appdebug"} {
		done.Flags = append(done.Flags, "--db-"+kind+"-user="+a.User)
	}
	done.Flags = append(done.Flags, "--db-credentials-file=CREDENTIALS")
	done.Credentials = fmt.Sprintf("{%q: [\"PASSWORD\"]}", a.User)
	done.Operator = fmt.Sprintf(`# in spec.keyspaces of the VitessCluster
- name: %s
  durabilityPolicy: none
  turndownPolicy: Immediate
  partitionings:
  - equal:
      parts: 1
      shardTemplate:
        databaseInitScriptSecret: {}
        tabletPools:
        - cell: %s
          type: externalmaster
          replicas: 1
          vttablet: {}
          externalDatastore:
            user: %s
            host: %s
            port: %d
            database: %s
            credentialsSecret: {name: %s-mysql, key: credentials.json}
`, a.Keyspace, a.Cell, a.User, a.Host, a.Port, a.Database, strings.ReplaceAll(a.Keyspace, "_", "-"))
	return done, nil
}
