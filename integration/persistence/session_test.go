package persistence

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/persistence/sql/sqlplugin"
)

// TestSessions reaches a server in the ways that a configuration offers: vtgate's of a testbed take any user, so the
// server is its mysqld.
func TestSessions(t *testing.T) {
	running := bed(t, 4)
	mysqld := openMySQL(t, running)
	query := func(statement string) string {
		var value string
		require.NoError(t, mysqld.QueryRowContext(t.Context(), statement).Scan(&value))
		return value
	}
	const password = `it's "secret"\`
	for _, statement := range []string{
		"CREATE USER session_tls@'%' IDENTIFIED BY 'x' REQUIRE SSL", "GRANT ALL ON *.* TO session_tls@'%'",
		`CREATE USER session_password@'%' IDENTIFIED BY 'it\'s "secret"\\'`, "GRANT ALL ON *.* TO session_password@'%'",
		"CREATE USER session_socket@localhost", "GRANT ALL ON *.* TO session_socket@localhost",
	} {
		_, err := mysqld.ExecContext(t.Context(), statement)
		require.NoError(t, err)
	}
	passwordFile := filepath.Join(t.TempDir(), "password")
	require.NoError(t, os.WriteFile(passwordFile, []byte(password), 0o600))

	shared := onUnshardedMySQL(t, running)
	for _, test := range []struct {
		name  string
		set   func(*config.SQL)
		works bool
	}{
		{"TLS that the server asks for", func(cfg *config.SQL) {
			cfg.User, cfg.Password, cfg.TLS = "session_tls", "x", &auth.TLS{Enabled: true}
		}, true},
		{"TLS by its attribute", func(cfg *config.SQL) {
			cfg.User, cfg.Password, cfg.ConnectAttributes["tls"] = "session_tls", "x", "skip-verify"
		}, true},
		{"TLS whose server has no certificate that counts", func(cfg *config.SQL) {
			cfg.User, cfg.Password, cfg.TLS = "session_tls", "x", &auth.TLS{Enabled: true, EnableHostVerification: true, ServerName: "vtgate"}
		}, false},
		{"no TLS where the server asks for it", func(cfg *config.SQL) {
			cfg.User, cfg.Password = "session_tls", "x"
		}, false},
		{"a password", func(cfg *config.SQL) {
			cfg.User, cfg.Password, cfg.TLS = "session_password", password, &auth.TLS{Enabled: true}
		}, true},
		{"a password from a command", func(cfg *config.SQL) {
			cfg.User, cfg.TLS = "session_password", &auth.TLS{Enabled: true}
			cfg.PasswordCommand = &config.PasswordCommandConfig{Command: "cat", Args: []string{passwordFile}}
		}, true},
		{"a command that fails", func(cfg *config.SQL) {
			cfg.User, cfg.TLS = "session_password", &auth.TLS{Enabled: true}
			cfg.PasswordCommand = &config.PasswordCommandConfig{Command: "false"}
		}, false},
		{"a unix socket", func(cfg *config.SQL) {
			cfg.User, cfg.ConnectProtocol, cfg.ConnectAddr = "session_socket", "unix", query("SELECT @@socket")
		}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			db := shared.withEverythingOff() // a copy of the configuration; pipelining is not what this is about
			test.set(db.main)
			_, err := db.open(t, sqlplugin.DbKindMain).ListClusterMetadata(t.Context(), &sqlplugin.ClusterMetadataFilter{PageSize: new(10)})
			if test.works {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, "no usable database connection")
			}
		})
	}

	t.Run("session variables", func(t *testing.T) {
		for attribute, want := range map[string]string{"": "READ-COMMITTED", "repeatable-read": "REPEATABLE-READ"} {
			db := onUnshardedMySQL(t, running)
			if attribute != "" {
				db.main.ConnectAttributes["transaction_isolation"] = attribute
			}
			store := db.open(t, sqlplugin.DbKindMain)
			_, err := store.ListClusterMetadata(t.Context(), &sqlplugin.ClusterMetadataFilter{PageSize: new(10)})
			require.NoError(t, err)
			require.Equal(t, want, query(fmt.Sprintf(`SELECT v.variable_value FROM performance_schema.variables_by_thread v
				JOIN performance_schema.threads t USING (thread_id)
				WHERE v.variable_name = 'transaction_isolation' AND t.processlist_db = '%s' LIMIT 1`, db.main.DatabaseName)))
		}
	})
}
