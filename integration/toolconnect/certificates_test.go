package toolconnect

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// certificates are files in PEM format.
type certificates struct {
	// authority signed server, which is for the name vtgate.test. Nobody knows stranger.
	authority, stranger string
	server, serverKey   string
}

// writeCertificates writes the files into a folder, readable for everybody.
func writeCertificates(folder string) (certificates, error) {
	files := certificates{
		authority: filepath.Join(folder, "authority.pem"),
		stranger:  filepath.Join(folder, "stranger.pem"),
		server:    filepath.Join(folder, "server.pem"),
		serverKey: filepath.Join(folder, "server-key.pem"),
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	server := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: []string{"vtgate.test"}, NotAfter: time.Now().Add(time.Hour)}
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	serverKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	for _, certificate := range []struct {
		file             string
		template, signer *x509.Certificate
		of, by           *ecdsa.PrivateKey
	}{
		{files.authority, authority, authority, authorityKey, authorityKey},
		{files.stranger, authority, authority, serverKey, serverKey},
		{files.server, server, authority, serverKey, authorityKey},
	} {
		der, err := x509.CreateCertificate(rand.Reader, certificate.template, certificate.signer, certificate.of.Public(), certificate.by)
		if err != nil {
			return files, err
		}
		if err := writePEM(certificate.file, "CERTIFICATE", der); err != nil {
			return files, err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(serverKey)
	if err != nil {
		return files, err
	}
	return files, writePEM(files.serverKey, "PRIVATE KEY", der)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644)
}
