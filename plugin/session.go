package plugin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/resolver"
)

// This file sets up sessions as upstream's does (common/persistence/sql/sqlplugin/mysql/session), which exports no
// connector and forbids interpolation for visibility. What it adds: placeholders are always filled in by the client,
// and each store has its own TLS configuration.

const (
	// upstreamTLSName is what upstream registers its TLS configuration as.
	upstreamTLSName = "tls-custom"

	attributeTLS             = "tls"
	attributeInterpolate     = "interpolateParams"
	attributeTransactionMode = "transaction_mode"
	attributeIsolation       = "transaction_isolation"
	attributeIsolationLegacy = "tx_isolation"
	defaultIsolation         = "'READ-COMMITTED'"
)

// NewConnector returns a connector to the server that cfg names, for [NewDB] and for tools; with an empty databaseName
// its sessions have no default keyspace. It does not connect; an attribute that cannot work is an error that names it.
// Each new connection resolves the address and the password again, so that a changed record or a short-lived token is
// taken up.
func NewConnector(cfg *config.SQL, resolver resolver.ServiceResolver) (driver.Connector, error) {
	attributes, err := sessionAttributes(cfg)
	if err != nil {
		return nil, err
	}
	var tlsConfig *tls.Config
	if cfg.TLS != nil && cfg.TLS.Enabled && (attributes[attributeTLS] == "" || attributes[attributeTLS] == upstreamTLSName) {
		delete(attributes, attributeTLS)
		if tlsConfig, err = newTLSConfig(cfg.TLS); err != nil {
			return nil, err
		}
	}
	network := cfg.ConnectProtocol
	if network == "" {
		network = "tcp"
	}
	address := func() string { return resolver.Resolve(cfg.ConnectAddr)[0] }

	// Attributes are the parameters of a DSN: the driver's parser tells its own from the session variables.
	dsn := mysql.NewConfig()
	dsn.Net, dsn.Addr, dsn.DBName, dsn.Params = network, address(), cfg.DatabaseName, attributes
	parsed, err := mysql.ParseDSN(dsn.FormatDSN())
	if err != nil {
		return nil, fmt.Errorf("connectAddr or connectAttributes: %w", err)
	}
	parsed.User = cfg.User
	parsed.TLS = tlsConfig
	// Package conn treats what RejectReadOnly is for (https://github.com/temporalio/temporal/issues/1703).
	parsed.MultiStatements = true
	err = parsed.Apply(mysql.BeforeConnect(func(_ context.Context, connection *mysql.Config) error {
		password, err := cfg.ResolvePassword()
		if err != nil {
			return err
		}
		connection.Passwd = password
		connection.Addr = address()
		return nil
	}))
	if err != nil {
		return nil, err
	}
	return mysql.NewConnector(parsed)
}

// sessionAttributes returns the connectAttributes that are the driver's or the session's, with the defaults.
func sessionAttributes(cfg *config.SQL) (map[string]string, error) {
	attributes := map[string]string{}
	for name, value := range cfg.ConnectAttributes {
		if strings.HasPrefix(name, optionPrefix) {
			continue
		}
		switch lower := strings.ToLower(strings.TrimSpace(name)); lower {
		case attributeIsolation, attributeIsolationLegacy:
			value = strings.ToLower(strings.TrimSpace(value))
			if !strings.HasPrefix(value, "'") { // values of MySQL's system variables are quoted
				value = "'" + value + "'"
			}
			name = lower
		case attributeTransactionMode:
			if !strings.EqualFold(strings.Trim(value, "' "), "single") {
				return nil, fmt.Errorf("connectAttributes: %s is %s, but the plugin keeps every transaction on one Vitess shard and sets 'single'; leave it out", name, value)
			}
			continue // package conn sets it, where the server is a vtgate
		}
		attributes[name] = value
	}
	if attributes[attributeIsolation] == "" && attributes[attributeIsolationLegacy] == "" {
		attributes[attributeIsolation] = defaultIsolation
	}
	if interpolate, ok := attributes[attributeInterpolate]; ok && interpolate != "true" {
		return nil, fmt.Errorf("connectAttributes: %s is %q, but the plugin fills in placeholders itself: a server-side PREPARE asks an unrelated Vitess shard; leave it out",
			attributeInterpolate, interpolate)
	}
	attributes[attributeInterpolate] = "true"
	attributes["parseTime"] = "true"
	attributes["clientFoundRows"] = "true"
	return attributes, nil
}

func newTLSConfig(cfg *auth.TLS) (*tls.Config, error) {
	tlsConfig := auth.NewTLSConfigForServer(cfg.ServerName, cfg.EnableHostVerification)
	if cfg.CaFile != "" {
		pem, err := os.ReadFile(cfg.CaFile)
		if err != nil {
			return nil, fmt.Errorf("tls.caFile: %w", err)
		}
		tlsConfig.RootCAs = x509.NewCertPool()
		if !tlsConfig.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls.caFile: %s holds no certificate in PEM format", cfg.CaFile)
		}
	}
	if (cfg.CertFile == "") != (cfg.KeyFile == "") {
		return nil, errors.New("tls.certFile and tls.keyFile go together: set both or none")
	}
	if cfg.CertFile != "" {
		certificate, err := tls.LoadX509KeyPair(cfg.CertFile, cfg.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls.certFile, tls.keyFile: %w", err)
		}
		tlsConfig.Certificates = []tls.Certificate{certificate}
	}
	return tlsConfig, nil
}
