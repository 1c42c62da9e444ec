package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// certify makes NAME.crt and NAME.key as an authority that is none of ours would:
// certify DIR ca makes that, certify DIR NAME server|client[-expired] [RACK] what
// it signs; an address for a server is 127.0.0.1.
func certify(ts *testscript.TestScript, _ bool, args []string) {
	dir, name := ts.MkAbs(args[0]), args[1]
	ts.Check(os.MkdirAll(dir, 0o700))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	ts.Check(err)
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	ts.Check(err)
	c := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), BasicConstraintsValid: true}
	parent, signer := c, key
	if name == "ca" {
		c.IsCA, c.KeyUsage = true, x509.KeyUsageCertSign
	} else {
		pair, err := os.ReadFile(filepath.Join(dir, "ca.crt"))
		ts.Check(err)
		block, _ := pem.Decode(pair)
		parent, err = x509.ParseCertificate(block.Bytes)
		ts.Check(err)
		pair, err = os.ReadFile(filepath.Join(dir, "ca.key"))
		ts.Check(err)
		block, _ = pem.Decode(pair)
		signer, err = x509.ParseECPrivateKey(block.Bytes)
		ts.Check(err)
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		switch args[2] {
		case "server":
			c.ExtKeyUsage, c.IPAddresses = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, []net.IP{net.IPv4(127, 0, 0, 1)}
		case "client-expired":
			c.NotAfter = time.Now().Add(-time.Minute)
		}
	}
	if len(args) > 3 {
		c.URIs = []*url.URL{{Scheme: "rackreach", Host: "rack", Path: "/" + args[3]}}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), signer)
	ts.Check(err)
	own, err := x509.MarshalECPrivateKey(key)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(dir, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: own}), 0o600))
	ts.Check(os.WriteFile(filepath.Join(dir, name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
}

// serving waits until a coordinator whose output goes to a file says where it
// serves, and puts that into a variable: serving VARIABLE FILE.
func serving(ts *testscript.TestScript, _ bool, args []string) {
	said := regexp.MustCompile(`coordinator, serving at (\S+) and`)
	for end := time.Now().Add(scriptPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		b, err := os.ReadFile(ts.MkAbs(args[1]))
		if m := said.FindSubmatch(b); err == nil && m != nil {
			ts.Setenv(args[0], string(m[1]))
			return
		}
	}
	ts.Fatalf("the coordinator does not say where it serves")
}

// says waits until a file holds something: says FILE REGEXP.
func says(ts *testscript.TestScript, _ bool, args []string) {
	what := regexp.MustCompile(args[1])
	for end := time.Now().Add(scriptPatience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if b, err := os.ReadFile(ts.MkAbs(args[0])); err == nil && what.Match(b) {
			return
		}
	}
	ts.Fatalf("%s does not come to say %s:\n%s", args[0], args[1], ts.ReadFile(args[0]))
}
