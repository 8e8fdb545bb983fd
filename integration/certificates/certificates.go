// Package certificates makes certificates for tests of TLS.
package certificates

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

// Files are in PEM format, and readable for everybody.
type Files struct {
	// Authority has signed Certificate, whose key is Key.
	Authority, Certificate, Key string
}

// Write makes an authority of its own, and a certificate for servers and clients of that name, in files below a folder.
func Write(folder, name string) (Files, error) {
	files := Files{
		Authority:   filepath.Join(folder, "authority.pem"),
		Certificate: filepath.Join(folder, "certificate.pem"),
		Key:         filepath.Join(folder, "key.pem"),
	}
	authority := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	certificate := &x509.Certificate{
		SerialNumber: big.NewInt(2), DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	signing, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return files, err
	}
	for _, signed := range []struct {
		file     string
		template *x509.Certificate
		of       *ecdsa.PrivateKey
	}{{files.Authority, authority, signing}, {files.Certificate, certificate, own}} {
		der, err := x509.CreateCertificate(rand.Reader, signed.template, authority, signed.of.Public(), signing)
		if err != nil {
			return files, err
		}
		if err := write(signed.file, "CERTIFICATE", der); err != nil {
			return files, err
		}
	}
	der, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		return files, err
	}
	return files, write(files.Key, "PRIVATE KEY", der)
}

func write(file, kind string, der []byte) error {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o644)
}
