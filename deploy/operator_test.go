package deploy_test

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/temporal-vitess/temporal-vitess/vschema"
)

var sizes = []string{"small", "medium", "large"}

// vitessCluster is what the tests look at of vitess-operator's object; its CRD checks the rest.
type vitessCluster struct {
	Metadata struct{ Name string }
	Spec     struct {
		Images map[string]any
		Backup struct {
			Schedules []struct{ Strategies []struct{ Scope string } }
		}
		Cells []struct {
			Name    string
			Gateway struct {
				Replicas        int
				ExtraFlags      map[string]string
				SecureTransport struct{ Required bool }
			}
		}
		Keyspaces []struct {
			Name, DurabilityPolicy, SidecarDBName string
			VitessOrchestrator                    *struct{}
			Partitionings                         []struct {
				Equal struct {
					Parts         int
					ShardTemplate struct {
						TabletPools []struct {
							Cell, Type string
							Replicas   int
							Vttablet   struct{ ExtraFlags map[string]string }
							Mysqld     struct {
								ConfigOverrides string
								Resources       corev1.ResourceRequirements
							}
							ExternalDatastore *struct{ Database string }
						}
					}
				}
			}
		}
	}
}

func cluster(t *testing.T, size string) (vitessCluster, []byte) {
	t.Helper()
	all := documents(t, read(t, "vitess-operator/"+size+".yaml"))
	require.Len(t, all, 1)
	var c vitessCluster
	require.NoError(t, json.Unmarshal(all[0], &c))
	return c, all[0]
}

// withUnmanaged returns a cluster with the keyspaces of a MySQL that is moved from.
func withUnmanaged(t *testing.T, object []byte) []byte {
	t.Helper()
	operations := documents(t, read(t, "vitess-operator/unmanaged.yaml"))
	require.Len(t, operations, 1)
	patch, err := jsonpatch.DecodePatch(operations[0])
	require.NoError(t, err)
	patched, err := patch.Apply(object)
	require.NoError(t, err)
	return patched
}

// operatorsManifest is what Vitess' release installs the operator with: its CRDs are in it.
func operatorsManifest(t *testing.T) string {
	t.Helper()
	return read(t, filepath.Join(moduleDir(t, "vitess.io/vitess"), "examples/operator/operator.yaml"))
}

func TestTheOperatorTakesTheClusters(t *testing.T) {
	var definition *apiextensionsv1.CustomResourceDefinition
	for _, document := range documents(t, operatorsManifest(t)) {
		var crd apiextensionsv1.CustomResourceDefinition
		if require.NoError(t, json.Unmarshal(document, &crd)); crd.Spec.Names.Kind == "VitessCluster" {
			definition = &crd
		}
	}
	require.NotNil(t, definition)
	var internal apiextensions.CustomResourceDefinition
	require.NoError(t, apiextensionsv1.Convert_v1_CustomResourceDefinition_To_apiextensions_CustomResourceDefinition(definition, &internal, nil))
	openAPI := internal.Spec.Validation
	if openAPI == nil {
		openAPI = internal.Spec.Versions[0].Schema
	}
	structural, err := schema.NewStructural(openAPI.OpenAPIV3Schema)
	require.NoError(t, err)
	validator, _, err := validation.NewSchemaValidator(openAPI.OpenAPIV3Schema)
	require.NoError(t, err)

	for _, size := range sizes {
		_, object := cluster(t, size)
		for name, object := range map[string][]byte{size: object, size + " with a MySQL to move from": withUnmanaged(t, object)} {
			t.Run(name, func(t *testing.T) {
				var value map[string]any
				require.NoError(t, json.Unmarshal(object, &value))
				require.Empty(t, validation.ValidateCustomResource(nil, value, validator))
				unknown := pruning.PruneWithOptions(value, structural, true, schema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
				require.Empty(t, unknown, "fields that the operator does not know")
			})
		}
	}
}

func TestTheClustersHaveTemporalsKeyspaces(t *testing.T) {
	page := table(t, "vitess-operator/README.md", "keyspace")
	for _, role := range vschema.Roles() {
		loaded, err := vschema.Load(role, vschema.ProfileNamespace)
		require.NoError(t, err)
		columns := map[string]bool{}
		for _, table := range loaded.Tables {
			if column := table.ShardingColumn(); column != "" {
				columns["`"+column+"`"] = true
			}
		}
		described := page["`"+string(role)+"`"]
		require.NotNil(t, described, "the README has no %s", role)
		require.Equal(t, strings.Join(slices.Sorted(maps.Keys(columns)), ", "), described["sharded by"])
		for _, size := range sizes {
			c, _ := cluster(t, size)
			require.Len(t, c.Spec.Keyspaces, len(vschema.Roles()))
			var parts int
			for _, keyspace := range c.Spec.Keyspaces {
				if keyspace.Name == string(role) {
					require.Len(t, keyspace.Partitionings, 1)
					parts = keyspace.Partitionings[0].Equal.Parts
				}
			}
			require.Equal(t, loaded.Sharded, parts > 1, "%s: %s has %d Vitess shards", size, role, parts)
			require.NotZero(t, parts)
		}
	}
}

// operatorsFlags are those that vitess-operator 2.17 sets itself and the clusters may set otherwise, as it spells them
// (pkg/operator/vtgate/deployment.go, pkg/operator/vttablet/flags.go). It sorts its flags with ours, and Vitess takes the
// last of several spellings.
var operatorsFlags = map[string]map[string]string{
	"vtgate": {
		"enable_buffer": "true", "buffer_min_time_between_failovers": "20s", "buffer_max_failover_duration": "10s",
		"buffer_size": "1000", "grpc_max_message_size": "67108864",
	},
	"vttablet": {
		"queryserver-config-max-result-size": "100000", "queryserver-config-query-timeout": "900s",
		"queryserver-config-pool-size": "96", "queryserver-config-stream-pool-size": "96",
		"queryserver-config-transaction-cap": "300", "grpc_max_message_size": "67108864",
	},
}

func TestTheOperatorIsThatOfVitessRelease(t *testing.T) {
	require.Contains(t, operatorsManifest(t), "planetscale/vitess-operator:v2.17.", "look at operatorsFlags, and the README")
}

func dashed(flag string) string { return strings.ReplaceAll(flag, "_", "-") }

// effective returns the flags of a program: the operator's with the cluster's, dashed.
func effective(t *testing.T, program string, extra map[string]string) map[string]string {
	t.Helper()
	help := read(t, filepath.Join(moduleDir(t, "vitess.io/vitess"), "go/flags/endtoend", program+".txt"))
	flags := map[string]string{}
	for name, value := range operatorsFlags[program] {
		flags[dashed(name)] = value
	}
	for name, value := range extra {
		require.Regexp(t, `(?m)^ +(-\w, )?--`+regexp.QuoteMeta(dashed(name))+`( |$)`, help, "Vitess' %s has no flag %s", program, name)
		for theirs := range operatorsFlags[program] {
			if dashed(theirs) == dashed(name) {
				require.Equal(t, theirs, name, "spelt otherwise than the operator spells it, so the operator's value may win")
			}
		}
		flags[dashed(name)] = value
	}
	return flags
}

func number(t *testing.T, text string) int {
	t.Helper()
	n, err := strconv.Atoi(text)
	require.NoError(t, err)
	return n
}

// settings returns the settings of a my.cnf snippet.
func settings(snippet string) map[string]string {
	all := map[string]string{}
	for line := range strings.SplitSeq(snippet, "\n") {
		if name, value, ok := strings.Cut(line, "="); ok {
			all[strings.TrimSpace(name)] = strings.TrimSpace(value)
		}
	}
	return all
}

func TestTheClustersHaveTheRecommendedFlags(t *testing.T) {
	for _, size := range sizes {
		t.Run(size, func(t *testing.T) {
			c, _ := cluster(t, size)
			for _, cell := range c.Spec.Cells {
				flags := effective(t, "vtgate", cell.Gateway.ExtraFlags)
				for name, value := range recommended(t, "vtgate") {
					require.Equal(t, value, flags[name], "vtgate --%s", name)
				}
			}
			for _, keyspace := range c.Spec.Keyspaces {
				require.Equal(t, "semi_sync", keyspace.DurabilityPolicy)
				require.NotNil(t, keyspace.VitessOrchestrator)
				tablets := 0
				for _, pool := range keyspace.Partitionings[0].Equal.ShardTemplate.TabletPools {
					require.Equal(t, "replica", pool.Type)
					tablets += pool.Replicas
					flags := effective(t, "vttablet", pool.Vttablet.ExtraFlags)
					for name, value := range recommended(t, "vttablet") {
						if strings.HasSuffix(name, "-cap") || strings.HasSuffix(name, "-size") {
							require.GreaterOrEqual(t, number(t, flags[name]), number(t, value), "vttablet --%s", name)
						} else {
							require.Equal(t, value, flags[name], "vttablet --%s", name)
						}
					}
					mysqld := settings(pool.Mysqld.ConfigOverrides)
					for name, value := range recommended(t, "mysqld") {
						if name == "max_connections" {
							pools := number(t, flags["queryserver-config-transaction-cap"]) + number(t, flags["queryserver-config-pool-size"])
							require.GreaterOrEqual(t, number(t, mysqld[name]), pools+100, "more than its vttablet's pools")
						} else {
							require.Equal(t, value, mysqld[name], name)
						}
					}
					buffered, err := resource.ParseQuantity(mysqld["innodb_buffer_pool_size"] + "i")
					require.NoError(t, err)
					memory := pool.Mysqld.Resources.Limits.Memory().Value()
					require.InDelta(t, 0.55, float64(buffered.Value())/float64(memory), 0.15, "of mysqld's memory")
				}
				require.GreaterOrEqual(t, tablets, 3, "semi_sync with fewer stops all writes when one is away")
			}
			require.Equal(t, "Cluster", c.Spec.Backup.Schedules[0].Strategies[0].Scope)
		})
	}
}

// The rules are those of docs/sizing.md, whose table has the numbers.
func TestTheClustersAreAsTheSizingPageSays(t *testing.T) {
	page := table(t, "../docs/sizing.md", "size")
	for _, size := range sizes {
		t.Run(size, func(t *testing.T) {
			c, _ := cluster(t, size)
			row := page[size]
			require.NotNil(t, row)
			parts := map[string]int{}
			caps := map[string]int{}
			for _, keyspace := range c.Spec.Keyspaces {
				parts[keyspace.Name] = keyspace.Partitionings[0].Equal.Parts
				caps[keyspace.Name] = number(t, keyspace.Partitionings[0].Equal.ShardTemplate.TabletPools[0].Vttablet.ExtraFlags["queryserver-config-transaction-cap"])
			}
			vtgates := 0
			for _, cell := range c.Spec.Cells {
				vtgates += cell.Gateway.Replicas
			}
			require.Equal(t, number(t, row["Vitess shards of `temporal`"]), parts["temporal"])
			require.Equal(t, number(t, row["of `temporal_visibility`"]), parts["temporal_visibility"])
			require.Equal(t, number(t, row["vtgates"]), vtgates)
			require.GreaterOrEqual(t, vtgates, 2)

			services := 0
			for _, replicas := range strings.Split(row["frontend, history, matching, worker"], ", ") {
				services += number(t, replicas)
			}
			const maxConns, visibilityMaxConns = 20, 10
			main, visibility := services*maxConns, services*visibilityMaxConns
			require.Equal(t, main, number(t, row["main connections"]))
			require.Equal(t, visibility, number(t, row["visibility connections"]))
			require.GreaterOrEqual(t, caps["temporal_global"], main)
			require.GreaterOrEqual(t, caps["temporal"]*parts["temporal"], 2*main)
			require.GreaterOrEqual(t, caps["temporal_visibility"]*parts["temporal_visibility"], 2*visibility)
			require.LessOrEqual(t, main+visibility, vtgates*1000, "vtgate's --buffer-size")

			history := number(t, row["history shards"])
			require.Zero(t, history&(history-1), "a power of two")
			require.GreaterOrEqual(t, history, 32*parts["temporal"])
		})
	}
}

func TestTheSecretsAreThere(t *testing.T) {
	var secret corev1.Secret
	all := documents(t, read(t, "vitess-operator/secrets.example.yaml"))
	require.Len(t, all, 1)
	decode(t, all[0], &secret)

	// The vtgates' certificate is one that cert-manager or its like makes.
	known := map[string][]string{secret.Name: slices.Collect(maps.Keys(secret.StringData)), "temporal-vtgate-tls": {"tls.crt", "tls.key"}}
	for _, size := range sizes {
		_, object := cluster(t, size)
		var value any
		require.NoError(t, json.Unmarshal(withUnmanaged(t, object), &value))
		found := map[string]bool{}
		var look func(any)
		look = func(value any) {
			switch value := value.(type) {
			case []any:
				for _, element := range value {
					look(element)
				}
			case map[string]any:
				if key, ok := value["key"].(string); ok {
					name := value["name"].(string)
					require.Contains(t, known[name], key, "secret %s", name)
					found[name+"/"+key] = true
				}
				for _, element := range value {
					look(element)
				}
			}
		}
		look(value)
		for key := range secret.StringData {
			require.Contains(t, found, secret.Name+"/"+key, "%s does not use it", size)
		}
	}

	var users map[string][]struct{ UserData, Password string }
	decode(t, []byte(secret.StringData["users.json"]), &users)
	for user, entries := range users {
		require.Len(t, entries, 1)
		require.Equal(t, user, entries[0].UserData)
	}
	for _, size := range sizes {
		c, _ := cluster(t, size)
		require.Contains(t, users, c.Spec.Cells[0].Gateway.ExtraFlags["vschema_ddl_authorized_users"])
	}
	example := documents(t, read(t, filepath.Join(moduleDir(t, "vitess.io/vitess"), "examples/operator/101_initial_cluster.yaml")))
	var theirs corev1.Secret
	require.NoError(t, json.Unmarshal(example[1], &theirs))
	require.Equal(t, strings.TrimSpace(theirs.StringData["init_db.sql"]), strings.TrimSpace(secret.StringData["init_db.sql"]))
}

func TestOneServiceLeadsToAllVTGates(t *testing.T) {
	var service corev1.Service
	all := documents(t, read(t, "vitess-operator/service.yaml"))
	require.Len(t, all, 1)
	decode(t, all[0], &service)
	for _, size := range sizes {
		c, _ := cluster(t, size)
		require.Equal(t, map[string]string{"planetscale.com/cluster": c.Metadata.Name, "planetscale.com/component": "vtgate"}, service.Spec.Selector)
	}
}

func TestTheMySQLToMoveFromStaysItself(t *testing.T) {
	_, object := cluster(t, "small")
	var c vitessCluster
	require.NoError(t, json.Unmarshal(withUnmanaged(t, object), &c))
	legacy := c.Spec.Keyspaces[len(vschema.Roles()):]
	require.Len(t, legacy, 2)
	names := map[string]string{}
	for _, keyspace := range legacy {
		require.Nil(t, keyspace.VitessOrchestrator, "vtorc undoes a read-only mysqld")
		require.Equal(t, "none", keyspace.DurabilityPolicy)
		pools := keyspace.Partitionings[0].Equal.ShardTemplate.TabletPools
		require.Len(t, pools, 1)
		require.Equal(t, "externalmaster", pools[0].Type)
		effective(t, "vttablet", pools[0].Vttablet.ExtraFlags)
		names[keyspace.Name] = pools[0].ExternalDatastore.Database
	}
	require.Equal(t, map[string]string{"legacy": "temporal", "legacy_visibility": "temporal_visibility"}, names)
}
