package sim

import (
	"bytes"
	"io"
	"regexp"
)

// shownTicket is the place in a receipt's line that a lie changes.
var shownTicket = regexp.MustCompile(`(rackreach-receipt:[^\n]* ticket=[^ \n]*)`)

// receiptWriter is where a system prints to. A receipt in it is noted in the record,
// before anybody can read it.
type receiptWriter struct {
	io.Writer
	shell *shell
}

// Write prints.
func (w receiptWriter) Write(b []byte) (int, error) {
	said := b
	if d := w.shell.host.dev; bytes.Contains(b, []byte("rackreach-receipt:")) {
		if d.lies() {
			said = shownTicket.ReplaceAll(b, []byte("${1}9"))
		} else if r := w.shell.host.readDisk().receipt; r.Config != "" {
			d.sim.record.add(kindReceiptRead, d.spec.Name, nil, detail{"config": r.Config, "digest": r.Digest})
		}
	}
	if _, err := w.Writer.Write(said); err != nil {
		return 0, err
	}
	return len(b), nil
}
