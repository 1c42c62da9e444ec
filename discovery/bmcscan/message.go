package bmcscan

import "encoding/binary"

// Port is where BMCs listen (RMCP, IPMI 2.0 section 13.1.2).
const Port = 623

// Parts of an ASF message in RMCP (IPMI 2.0 section 13.1.3, ASF 2.0 section 3.2.3).
const (
	rmcpVersion  = 0x06
	noAck        = 0xff // sequence number: no acknowledgement is wanted
	classASF     = 0x06
	classMask    = 0x1f
	enterprise   = 4542 // IANA, of ASF
	presencePing = 0x80
	presencePong = 0x40
	pongData     = 16
	ipmi         = 0x80 // supported entities
	header       = 12
)

// maxPong is the longest answer that is looked at, in bytes.
const maxPong = 512

// ping asks who is there.
func ping(tag byte) []byte {
	b := []byte{rmcpVersion, 0, noAck, classASF}
	return append(binary.BigEndian.AppendUint32(b, enterprise), presencePing, tag, 0, 0)
}

// readPong reads an answer to a ping. enterprise is its maker's number, or ASF's own.
func readPong(b []byte, tag byte) (maker uint32, isIPMI, ok bool) {
	if len(b) < header+pongData || len(b) > maxPong || b[0] != rmcpVersion || b[3]&classMask != classASF || binary.BigEndian.Uint32(b[4:]) != enterprise ||
		b[8] != presencePong || b[9] != tag || b[11] < pongData {
		return 0, false, false
	}
	return binary.BigEndian.Uint32(b[header:]), b[header+8]&ipmi != 0, true
}
