package plugin

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.temporal.io/server/common/auth"
	"go.temporal.io/server/common/config"
)

func TestSessionAttributes(t *testing.T) {
	for _, test := range []struct {
		name       string
		attributes map[string]string
		want       map[string]string
	}{
		{"defaults", nil, map[string]string{"transaction_isolation": "'READ-COMMITTED'"}},
		{"isolation is quoted as upstream does", map[string]string{" Transaction_Isolation": "Repeatable-Read "},
			map[string]string{"transaction_isolation": "'repeatable-read'"}},
		{"the older name of isolation", map[string]string{"tx_isolation": "'read-committed'"}, map[string]string{"tx_isolation": "'read-committed'"}},
		{"the mode that the plugin sets anyway", map[string]string{"transaction_mode": "'SINGLE'"}, map[string]string{"transaction_isolation": "'READ-COMMITTED'"}},
		{"the plugin's options are not the server's", map[string]string{"vitess_max_rows": "5", "wait_timeout": "9"},
			map[string]string{"transaction_isolation": "'READ-COMMITTED'", "wait_timeout": "9"}},
		{"what cannot be otherwise", map[string]string{"parseTime": "false", "clientFoundRows": "false", "interpolateParams": "true"},
			map[string]string{"transaction_isolation": "'READ-COMMITTED'"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			driver, settings, err := sessionAttributes(&config.SQL{ConnectAttributes: test.attributes})
			require.NoError(t, err)
			require.Equal(t, map[string]string{"interpolateParams": "true", "parseTime": "true", "clientFoundRows": "true"}, driver)
			require.Equal(t, test.want, settings)
		})
	}
}

func TestTLSFilesThatCannotWork(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	for _, test := range []struct {
		name string
		tls  auth.TLS
		says string
	}{
		{"missing CA", auth.TLS{CaFile: "/nowhere/ca.pem"}, "tls.caFile: open /nowhere/ca.pem"},
		{"CA without a certificate", auth.TLS{CaFile: empty}, "holds no certificate"},
		{"certificate without key", auth.TLS{CertFile: empty}, "tls.certFile and tls.keyFile go together"},
		{"certificate that is none", auth.TLS{CertFile: empty, KeyFile: empty}, "tls.certFile, tls.keyFile"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := newTLSConfig(&test.tls)
			require.ErrorContains(t, err, test.says)
		})
	}
}

func TestEachStoreHasItsOwnTLS(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate}), 0o600))

	verified, err := newTLSConfig(&auth.TLS{CaFile: ca, ServerName: "vtgate", EnableHostVerification: true})
	require.NoError(t, err)
	require.Equal(t, "vtgate", verified.ServerName)
	require.False(t, verified.InsecureSkipVerify)
	require.NotNil(t, verified.RootCAs)
	other, err := newTLSConfig(&auth.TLS{ServerName: "other"})
	require.NoError(t, err)
	require.Nil(t, other.RootCAs)
	require.Equal(t, "vtgate", verified.ServerName)
}

func TestTheDriversTLSIsThatOfEachAddress(t *testing.T) {
	parsed, err := parseAttributes(&config.SQL{ConnectAddr: "db.example.com:3306"}, map[string]string{"tls": "true"})
	require.NoError(t, err)
	require.NotNil(t, parsed.TLS)
	require.Empty(t, parsed.TLS.ServerName, "package vtgates fills it in")
}

func TestAttributesThatAskAVitessShard(t *testing.T) {
	_, _, err := sessionAttributes(&config.SQL{ConnectAttributes: map[string]string{"maxAllowedPacket": "0"}})
	require.ErrorContains(t, err, "maxAllowedPacket is 0")
}
