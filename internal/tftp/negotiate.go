package tftp

import (
	"strconv"
	"time"
)

// agreed is what client and server agreed on.
type agreed struct {
	block   int           // bytes
	window  int           // blocks
	timeout time.Duration // as the client asked; 0: as the path shows
}

// negotiate answers the options of a request for a file of that size, over a
// path that takes mostBlock bytes of data a packet. What is not acknowledged does
// not count (RFC 2347); what comes twice counts the first time.
func negotiate(r request, size int64, mostBlock int) (agreed, []option) {
	a := agreed{block: plainBlock, window: 1}
	var answer []option
	seen := map[string]bool{}
	for _, o := range r.options {
		n, err := strconv.ParseUint(o.value, 10, 63)
		if err != nil || seen[o.name] {
			continue
		}
		seen[o.name] = true
		switch o.name {
		case "blksize": // RFC 2348: the server may answer with less
			if n < leastBlock || n > greatestBlock {
				continue
			}
			a.block = max(min(int(n), mostBlock), leastBlock)
			n = uint64(a.block)
		case "tsize": // RFC 2349: a request says 0
			n = uint64(size)
		case "timeout": // RFC 2349, in seconds
			if n < 1 || n > 255 {
				continue
			}
			a.timeout = time.Duration(n) * time.Second
		case "windowsize": // RFC 7440 §3: likewise
			if n < 1 || n > 65535 {
				continue
			}
			a.window = min(int(n), maxWindow)
		default:
			continue
		}
		answer = append(answer, option{o.name, strconv.FormatUint(n, 10)})
	}
	// The order of options is free, so a block may be known after the window.
	a.window = min(a.window, max(maxWindowBytes/a.block, 1))
	for i := range answer {
		if answer[i].name == "windowsize" {
			answer[i].value = strconv.Itoa(a.window)
		}
	}
	return a, answer
}
