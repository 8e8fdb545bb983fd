package plugin

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql/driver"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"

	"github.com/go-sql-driver/mysql"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
	"go.temporal.io/server/common/resolver"

	"github.com/temporal-vitess/temporal-vitess/internal/vtgates"
)

// This file sets up sessions as upstream's does (common/persistence/sql/sqlplugin/mysql/session), which exports no
// connector and forbids interpolation for visibility. What it adds: placeholders are always filled in by the client,
// and each store has its own TLS configuration.

const (
	// upstreamTLSName is what upstream registers its TLS configuration as.
	upstreamTLSName = "tls-custom"

	attributeTLS             = "tls"
	attributeInterpolate     = "interpolateParams"
	attributeMaxPacket       = "maxAllowedPacket"
	attributeTransactionMode = "transaction_mode"
	attributeIsolation       = "transaction_isolation"
	attributeIsolationLegacy = "tx_isolation"
	defaultIsolation         = "'READ-COMMITTED'"
)

// NewConnector returns a connector to the server that cfg names, for tools; with an empty databaseName its sessions have no
// default keyspace, and they have MySQL's isolation unless connectAttributes say otherwise. It does not connect; an
// attribute that cannot work is an error that names it. Each new connection resolves the addresses and the password again,
// so that a changed record or a short-lived token is taken up; it goes to the next of several addresses that answers.
func NewConnector(cfg *config.SQL, resolver resolver.ServiceResolver) (driver.Connector, error) {
	attributes, settings, err := sessionAttributes(cfg)
	if err != nil {
		return nil, err
	}
	for name, value := range settings {
		if name != attributeIsolation || cfg.ConnectAttributes[name] != "" {
			attributes[name] = value
		}
	}
	return newConnector(cfg, resolver, attributes)
}

// newConnector returns a connector for sessions with these parameters of the driver.
func newConnector(cfg *config.SQL, resolver resolver.ServiceResolver, attributes map[string]string) (driver.Connector, error) {
	parsed, err := parseAttributes(cfg, attributes)
	if err != nil {
		return nil, err
	}
	parsed.User = cfg.User
	if cfg.TLS != nil && cfg.TLS.Enabled && (attributes[attributeTLS] == "" || attributes[attributeTLS] == upstreamTLSName) {
		if parsed.TLS, err = newTLSConfig(cfg.TLS); err != nil {
			return nil, err
		}
	}
	// Package session treats what RejectReadOnly is for (https://github.com/temporalio/temporal/issues/1703). With it, the driver
	// would call an answer to what may have been executed an unused connection.
	parsed.RejectReadOnly = false
	parsed.MultiStatements = true
	err = parsed.Apply(mysql.BeforeConnect(func(_ context.Context, connection *mysql.Config) error {
		password, err := cfg.ResolvePassword()
		if err != nil {
			return err
		}
		connection.Passwd = password
		return nil
	}))
	if err != nil {
		return nil, err
	}
	return vtgates.NewConnector(parsed, func() string { return strings.Join(resolver.Resolve(cfg.ConnectAddr), ",") })
}

// noHost stands for the host of an address that is not known yet.
const noHost = "connect-addr.invalid"

// parseAttributes returns what the driver makes of attributes, which are the parameters of a DSN: it tells its own from
// system variables of the session (Params).
func parseAttributes(cfg *config.SQL, attributes map[string]string) (*mysql.Config, error) {
	network := cfg.ConnectProtocol
	if network == "" {
		network = "tcp"
	}
	attributes = maps.Clone(attributes)
	if attributes[attributeTLS] == upstreamTLSName {
		delete(attributes, attributeTLS)
	}
	dsn := mysql.NewConfig()
	dsn.Net, dsn.Addr, dsn.DBName, dsn.Params = network, noHost+":1", cfg.DatabaseName, attributes
	parsed, err := mysql.ParseDSN(dsn.FormatDSN())
	if err != nil {
		return nil, fmt.Errorf("connectAttributes: %w", err)
	}
	if parsed.TLS != nil && parsed.TLS.ServerName == noHost {
		parsed.TLS.ServerName = "" // which is that of each address
	}
	return parsed, nil
}

// sessionAttributes returns the connectAttributes that are the driver's, and the system variables of the session, both with
// the defaults.
func sessionAttributes(cfg *config.SQL) (driver, settings map[string]string, err error) {
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
				return nil, nil, fmt.Errorf("connectAttributes: %s is %s, but the plugin keeps every transaction on one Vitess shard and sets 'single'; leave it out", name, value)
			}
			continue // package session sets it, where the server is a vtgate
		}
		attributes[name] = value
	}
	if attributes[attributeIsolation] == "" && attributes[attributeIsolationLegacy] == "" {
		attributes[attributeIsolation] = defaultIsolation
	}
	if interpolate, ok := attributes[attributeInterpolate]; ok && interpolate != "true" {
		return nil, nil, fmt.Errorf("connectAttributes: %s is %q, but the plugin fills in placeholders itself: a server-side PREPARE asks an unrelated Vitess shard; leave it out",
			attributeInterpolate, interpolate)
	}
	if attributes[attributeMaxPacket] == "0" {
		return nil, nil, fmt.Errorf("connectAttributes: %s is 0, with which each new connection asks a Vitess shard for the size; name one, or leave it out for 64 MiB", attributeMaxPacket)
	}
	attributes[attributeInterpolate] = "true"
	attributes["parseTime"] = "true"
	attributes["clientFoundRows"] = "true"
	parsed, err := parseAttributes(cfg, attributes)
	if err != nil {
		return nil, nil, err
	}
	for name := range parsed.Params {
		delete(attributes, name)
	}
	return attributes, parsed.Params, nil
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
