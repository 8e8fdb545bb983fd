package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"time"

	vtctldatapb "vitess.io/vitess/go/vt/proto/vtctldata"
	"vitess.io/vitess/go/vt/topo/topoproto"

	"github.com/temporal-vitess/temporal-vitess/internal/live"
)

// debugVars is the page /debug/vars of a vtgate or vttablet.
type debugVars map[string]json.RawMessage

// httpTimeout is for a page that firewalls hide.
const httpTimeout = 5 * time.Second

func readDebugVars(ctx context.Context, address string) (debugVars, error) {
	ctx, cancel := context.WithTimeout(ctx, httpTimeout)
	defer cancel()
	url := "http://" + address + "/debug/vars"
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s: %s", url, response.Status)
	}
	var vars debugVars
	if err := json.NewDecoder(response.Body).Decode(&vars); err != nil {
		return nil, fmt.Errorf("%s: %w", url, err)
	}
	return vars, nil
}

// number is a number of a vttablet. A vtcombo has those of all its vttablets, by their aliases.
func (v debugVars) number(name, alias string) (int64, error) {
	raw, ok := v[name]
	if !ok {
		return 0, fmt.Errorf("/debug/vars has no %s", name)
	}
	var one int64
	if json.Unmarshal(raw, &one) == nil {
		return one, nil
	}
	var byAlias map[string]int64
	if err := json.Unmarshal(raw, &byAlias); err != nil {
		return 0, fmt.Errorf("%s in /debug/vars: %w", name, err)
	}
	one, ok = byAlias[alias]
	if !ok {
		return 0, fmt.Errorf("%s in /debug/vars has nothing of %s", name, alias)
	}
	return one, nil
}

// tablet is a vttablet that vtgate knows.
type tablet struct {
	alias       string
	vitessShard string // as in temporal/-80
	tabletType  string // such as PRIMARY
	serving     bool
}

// tablets are those of a keyspace, as vtgate sees them.
func (e *examination) tablets(ctx context.Context, keyspace string) ([]tablet, error) {
	var found []tablet
	var t tablet
	var cell, of, shard, state, hostname, since string
	err := live.EachRow(ctx, e.vitess.DB, "SHOW VITESS_TABLETS", nil, func() error {
		if of == keyspace {
			t.vitessShard, t.serving = keyspace+"/"+shard, state == "SERVING"
			found = append(found, t)
		}
		return nil
	}, &cell, &of, &shard, &t.tabletType, &state, &t.alias, &hostname, &since)
	return found, err
}

// needed says what it takes to see a vttablet's own settings.
const needed = "needs the vttablets' HTTP ports: give --vtctld, which knows them"

// eachTablet calls judge with the /debug/vars of each vttablet that is or can become a primary. What cannot be reached
// is skipped.
func (e *examination) eachTablet(ctx context.Context, seen *observations, judge func(h *home, t tablet, vars debugVars, seen *observations) error) error {
	var combined debugVars
	if e.VTGateHTTP != "" {
		vars, err := readDebugVars(ctx, e.VTGateHTTP)
		if err != nil {
			seen.skip("--vtgate-http: %v", err)
		}
		if vars["TabletAlias"] != nil && vars["VtgateVSchemaCounts"] != nil { // a vtcombo
			combined = vars
		}
	}
	if combined == nil && e.vitess.VTCtld == nil {
		seen.skip(needed)
		return nil
	}
	for _, h := range e.homes {
		if !e.skipUnlessExists(h, seen) {
			continue
		}
		tablets, err := e.tablets(ctx, h.name)
		var addresses map[string]string
		if combined == nil {
			tablets, addresses, err = e.recordedTablets(ctx, h.name)
		}
		if err != nil {
			return err
		}
		for _, t := range tablets {
			if t.tabletType != "PRIMARY" && t.tabletType != "REPLICA" {
				continue
			}
			at := seen.at(t.vitessShard + " " + t.alias)
			vars := combined
			if vars == nil {
				if vars, err = readDebugVars(ctx, addresses[t.alias]); err != nil {
					at.skip("%v", err)
					continue
				}
			}
			if err := judge(h, t, vars, at); err != nil {
				at.fail("%v", err)
			}
		}
	}
	return nil
}

// recordedTablets are those of a keyspace in the topology, with the addresses of their status pages by alias. A vtgate goes on
// showing tablets for a while that are no longer there, as after a Reshard.
func (e *examination) recordedTablets(ctx context.Context, keyspace string) ([]tablet, map[string]string, error) {
	response, err := e.vitess.VTCtld.GetTablets(ctx, &vtctldatapb.GetTabletsRequest{Keyspace: keyspace})
	if err != nil {
		return nil, nil, fmt.Errorf("tablets of keyspace %s from vtctld: %w", keyspace, err)
	}
	var found []tablet
	addresses := map[string]string{}
	for _, t := range response.Tablets {
		alias := topoproto.TabletAliasString(t.Alias)
		found = append(found, tablet{alias: alias, vitessShard: t.Keyspace + "/" + t.Shard, tabletType: t.Type.String()})
		addresses[alias] = net.JoinHostPort(t.Hostname, strconv.Itoa(int(t.PortMap["vt"])))
	}
	return found, addresses, nil
}
