package doctor

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"database/sql"
	"database/sql/driver"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/resolver"
	vschemapb "vitess.io/vitess/go/vt/proto/vschema"

	"github.com/temporal-vitess/temporal-vitess/cmd/temporal-vitess-tool/doctor"
	"github.com/temporal-vitess/temporal-vitess/integration/cluster"
	"github.com/temporal-vitess/temporal-vitess/integration/testbed"
	"github.com/temporal-vitess/temporal-vitess/internal/live"
	"github.com/temporal-vitess/temporal-vitess/plugin"
	"github.com/temporal-vitess/temporal-vitess/vschema"
)

const (
	startTimeout = 5 * time.Minute

	// What a test waits for takes milliseconds.
	waitTimeout = 30 * time.Second
)

const (
	// bare is a keyspace as it is when it has just been created.
	bare = "bare"
	// one is an unsharded keyspace with all tables.
	one = "one"
)

// bed is a Vitess with Temporal's keyspaces.
type bed struct {
	*testbed.Testbed
	vtgate *sql.DB
	mysqld *sql.DB
}

var (
	// certificateFolder holds what the healthy bed's vtgate shows for itself.
	certificateFolder string

	// running are the beds that have been started.
	running struct {
		sync.Mutex
		beds []*bed
	}

	// healthyBed has all as it should be, on 2 Vitess shards.
	healthyBed = sync.OnceValues(func() (*bed, error) {
		return start(2, 0,
			"--enable-buffer", "--buffer-window=8s", "--buffer-max-failover-duration=10s",
			"--queryserver-config-transaction-timeout=5s",
			"--mysql-server-ssl-cert="+filepath.Join(certificateFolder, "cert.pem"),
			"--mysql-server-ssl-key="+filepath.Join(certificateFolder, "key.pem"))
	})
	// meagreBed has too little of everything that is a flag, but the replicas that healthyBed has not.
	meagreBed = sync.OnceValues(func() (*bed, error) {
		return start(1, 2,
			"--queryserver-config-max-result-size=5000",
			"--queryserver-config-pool-size=5",
			"--queryserver-config-transaction-cap=6",
			"--enable-system-settings=false",
			"--max-payload-size=1000000")
	})
)

func start(vitessShards, replicas int, flags ...string) (*bed, error) {
	keyspaces, err := testbed.Keyspaces("", vitessShards, vschema.ProfileNamespace)
	if err != nil {
		return nil, err
	}
	all, err := oneForAll()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	vitess, err := cluster.Start(ctx, cluster.Config{
		Keyspaces:    append(keyspaces, all, cluster.Keyspace{Name: bare, Shards: 1}),
		Replicas:     replicas,
		VTComboFlags: flags,
	})
	if err != nil {
		return nil, err
	}
	b := &bed{}
	if b.Testbed, err = testbed.On(vitess, "", vschema.ProfileNamespace); err != nil {
		return nil, errors.Join(err, vitess.Stop())
	}
	b.vtgate = sql.OpenDB(b.connector(nil))
	network, address, user := b.MySQL()
	if b.mysqld, err = sql.Open("mysql", fmt.Sprintf("%s@%s(%s)/", user, network, address)); err != nil {
		return nil, errors.Join(err, b.Stop())
	}
	running.Lock()
	defer running.Unlock()
	running.beds = append(running.beds, b)
	return b, nil
}

// oneForAll is the keyspace one.
func oneForAll() (cluster.Keyspace, error) {
	statements, err := testbed.AllTables()
	if err != nil {
		return cluster.Keyspace{}, err
	}
	placement := vschema.Keyspace{Tables: map[string]vschema.Table{}}
	for _, role := range vschema.Roles() {
		own, err := vschema.Load(role, vschema.ProfileNamespace)
		if err != nil {
			return cluster.Keyspace{}, err
		}
		for name := range own.Tables {
			placement.Tables[name] = vschema.Table{}
		}
	}
	data, err := json.Marshal(placement)
	return cluster.Keyspace{Name: one, Shards: 1, VSchema: data, DDL: statements}, err
}

// inOne puts all tables into one database.
func inOne(name string) func(*doctor.Config) {
	return func(cfg *doctor.Config) {
		cfg.Keyspaces = map[vschema.Role]string{vschema.Main: name, vschema.Global: name, vschema.Visibility: name}
	}
}

func healthy(t *testing.T) *bed { return started(t, healthyBed) }
func meagre(t *testing.T) *bed  { return started(t, meagreBed) }

func started(t *testing.T, start func() (*bed, error)) *bed {
	t.Helper()
	b, err := start()
	require.NoError(t, err)
	return b
}

func TestMain(m *testing.M) {
	os.Exit(func() int {
		folder, err := makeCertificate()
		if err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			return 1
		}
		certificateFolder = folder
		code := m.Run()
		err = os.RemoveAll(folder)
		for _, b := range running.beds {
			err = errors.Join(err, b.vtgate.Close(), b.mysqld.Close(), b.Stop())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, "FAIL:", err)
			return 1
		}
		return code
	}())
}

// makeCertificate makes a folder with a certificate of 127.0.0.1 that signs itself, readable for the user that Vitess
// runs as.
func makeCertificate() (string, error) {
	folder, err := os.MkdirTemp("", "doctor")
	if err != nil {
		return "", err
	}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "vtgate"},
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		return "", err
	}
	privateBytes, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return "", err
	}
	return folder, errors.Join(
		os.Chmod(folder, 0o755),
		os.WriteFile(filepath.Join(folder, "cert.pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o644),
		os.WriteFile(filepath.Join(folder, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: privateBytes}), 0o644),
	)
}

// connector is the plugin's, to vtgate, with further changes to its configuration.
func (b *bed) connector(change func(*config.SQL)) driver.Connector {
	cfg := &config.SQL{ConnectAddr: b.VTGateAddr(), User: "temporal", ConnectAttributes: map[string]string{}}
	if change != nil {
		change(cfg)
	}
	connector, err := plugin.NewConnector(cfg, resolver.NewNoopResolver())
	if err != nil {
		panic(err) // of a test's own making
	}
	return connector
}

// stock is a connector with the defaults of go-sql-driver/mysql instead of the plugin's.
func (b *bed) stock(t *testing.T) driver.Connector {
	t.Helper()
	cfg := mysql.NewConfig()
	cfg.Net, cfg.Addr, cfg.User, cfg.ParseTime = "tcp", b.VTGateAddr(), "temporal", true
	connector, err := mysql.NewConnector(cfg)
	require.NoError(t, err)
	return connector
}

// config is what doctor needs for a bed, with all there is to see, and a Temporal that fits it.
func (b *bed) config(changes ...func(*doctor.Config)) doctor.Config {
	cfg := doctor.Config{
		VTGate:  b.connector(nil),
		VTCtld:  b.VTCtldAddr(),
		Address: b.VTGateAddr(),
		Keyspaces: map[vschema.Role]string{
			vschema.Main:       testbed.Main,
			vschema.Global:     testbed.Global,
			vschema.Visibility: testbed.Visibility,
		},
		Profile:            vschema.ProfileNamespace,
		VTGateHTTP:         b.HTTPAddr(),
		MaxConns:           20,
		VisibilityMaxConns: 10,
		Services:           4,
		MaxRows:            10000,
		HistoryShards:      64,
		Now:                time.Now,
	}
	for _, change := range changes {
		change(&cfg)
	}
	return cfg
}

// through reaches vtgate over other connections, and not vtctld.
func through(vtgate driver.Connector) func(*doctor.Config) {
	return func(cfg *doctor.Config) { cfg.VTGate, cfg.VTCtld = vtgate, "" }
}

func withTLS(cfg *auth.TLS, b *bed) func(*doctor.Config) {
	return func(c *doctor.Config) {
		c.TLS = cfg
		c.VTGate, c.VTCtld = b.connector(func(c *config.SQL) { c.TLS = cfg }), ""
	}
}

// examine does one check.
func examine(t *testing.T, cfg doctor.Config, check string) doctor.Finding {
	t.Helper()
	cfg.Checks = []string{check}
	var findings []doctor.Finding
	require.NoError(t, doctor.Run(t.Context(), cfg, func(f doctor.Finding) {
		if f.Check == check {
			findings = append(findings, f)
		}
	}))
	require.Len(t, findings, 1)
	return findings[0]
}

// requireFinding does one check and wants its outcome, with the first observation of that status saying so and where, as
// in "text (temporal/-80, temporal/80-)". An ellipsis stands for anything.
func requireFinding(t *testing.T, cfg doctor.Config, check string, status doctor.Status, says string) {
	t.Helper()
	finding := examine(t, cfg, check)
	require.Equal(t, status, finding.Status, "%+v", finding.Found)
	for _, observation := range finding.Found {
		if observation.Status == status {
			for part := range strings.SplitSeq(says, "…") {
				require.Contains(t, observation.Text+" ("+strings.Join(observation.Where, ", ")+")", part)
			}
			return
		}
	}
}

// exec executes statements on the mysqld, below Vitess.
func (b *bed) exec(t *testing.T, statements ...string) {
	t.Helper()
	for _, statement := range statements {
		_, err := b.mysqld.ExecContext(context.WithoutCancel(t.Context()), statement)
		require.NoError(t, err, statement)
	}
}

// applyVSchema makes vtgate serve a VSchema of a keyspace, however little Temporal can do with it.
func (b *bed) applyVSchema(t *testing.T, vitess *live.Vitess, keyspace string, target *vschemapb.Keyspace) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), waitTimeout)
	defer cancel()
	before, err := vitess.VSchema(ctx, keyspace)
	require.NoError(t, err)
	require.NoError(t, vitess.ApplyVSchema(ctx, &live.VSchemaChange{Keyspace: keyspace, Live: before, Target: target}))
}

// setForAll sets a variable of mysqld, and ends the connections of vttablets, which have its value of before.
func (b *bed) setForAll(t *testing.T, variable string, value any) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context()) // also in a test's cleanup
	_, err := b.mysqld.ExecContext(ctx, "SET GLOBAL "+variable+" = ?", value)
	require.NoError(t, err)
	connections := func() []string {
		ids, err := live.Column(ctx, b.mysqld, "SELECT id FROM information_schema.processlist WHERE id <> CONNECTION_ID() AND command NOT IN ('Daemon', 'Binlog Dump', 'Binlog Dump GTID')")
		require.NoError(t, err)
		return ids
	}
	old := connections()
	for _, id := range old {
		_, _ = b.mysqld.ExecContext(ctx, "KILL "+id) // which may have ended by itself
	}
	require.Eventually(t, func() bool {
		return !slices.ContainsFunc(connections(), func(id string) bool { return slices.Contains(old, id) })
	}, waitTimeout, time.Millisecond)
}
