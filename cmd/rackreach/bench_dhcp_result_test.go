//go:build bench

package main

import (
	"fmt"
	"time"
)

// Goals of the DHCP bench (issue of discovery): ours to Kea.
const (
	goalDORA      = 2.0    // at least, or
	goalCeiling   = 0.9    // of what perfdhcp and this machine can do at all
	goalCPU       = 1. / 3 // at most
	goalAvalanche = 0.25   // at most
)

// results prints the medians of the rounds, and those of the ratios of each round.
func (b *dhcpBench) results(rounds map[string][]round) {
	b.t.Helper()
	fmt.Printf("medians of %d rounds:\n", len(rounds["ours"]))
	for _, name := range []string{"ours", "kea", "dnsmasq", "null"} {
		if rs := rounds[name]; len(rs) > 0 {
			fmt.Printf("%-8s %6.0f DORA/s (CPU %4.0f µs, p99 OFFER %s ACK %s) | at %d/s: %4.0f µs, p99 OFFER %s ACK %s | avalanche %.1f s\n", name,
				mid(rs, func(r round) float64 { return r.best.dora() }),
				mid(rs, func(r round) float64 { return micros(r.best.cpu) }),
				mid(rs, func(r round) time.Duration { return r.best.offers.p99() }), mid(rs, func(r round) time.Duration { return r.best.acks.p99() }),
				b.equal,
				mid(rs, func(r round) float64 { return micros(r.equal.cpu) }),
				mid(rs, func(r round) time.Duration { return r.equal.offers.p99() }), mid(rs, func(r round) time.Duration { return r.equal.acks.p99() }),
				mid(rs, func(r round) float64 { return r.avalanche.Seconds() }))
		}
	}
	ours, kea, null := rounds["ours"], rounds["kea"], rounds["null"]
	for i, r := range ours {
		if r.failed != nil {
			b.t.Errorf("round %d: ours: %v", i+1, r.failed)
		}
	}
	if len(ours) == 0 || len(kea) != len(ours) {
		return // a part of the bench only
	}
	dora := ratio(ours, kea, func(r round) float64 { return r.best.dora() })
	cpu := ratio(ours, kea, func(r round) float64 { return micros(r.best.cpu) })
	avalanche := ratio(ours, kea, func(r round) float64 { return r.avalanche.Seconds() })
	var ceiling float64
	if len(null) == len(ours) {
		ceiling = ratio(ours, null, func(r round) float64 { return r.best.dora() })
		fmt.Printf("ours to perfdhcp's ceiling: %.2f of its DORA/s, %.2f of its avalanche's time\n", ceiling, ratio(ours, null, func(r round) float64 { return r.avalanche.Seconds() }))
	}
	fmt.Printf("CPU per DORA at the same %d DORA/s, ours to Kea: %.2f\n", b.equal, ratio(ours, kea, func(r round) float64 { return micros(r.equal.cpu) }))
	fmt.Printf("goals: DORA/s %s, CPU %s, avalanche %s\n", met(dora >= goalDORA || ceiling >= goalCeiling), met(cpu <= goalCPU), met(avalanche <= goalAvalanche))
	fmt.Printf("RESULT dora_ratio_kea %.2f\n", dora)
	fmt.Printf("RESULT cpu_ratio_kea %.2f\n", cpu)
	fmt.Printf("RESULT avalanche_ratio_kea %.2f\n", avalanche)
}

func met(ok bool) string {
	if ok {
		return "met"
	}
	return "MISSED"
}

func micros(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 }

// mid is the median of a figure over the rounds.
func mid[T interface{ ~int64 | ~float64 }](rs []round, of func(round) T) T {
	var v []T
	for _, r := range rs {
		v = append(v, of(r))
	}
	return median(v)
}

// ratio is the median of the ratios of two servers in the same round.
func ratio(a, b []round, of func(round) float64) float64 {
	var v []float64
	for i := range a {
		if x := of(b[i]); x > 0 {
			v = append(v, of(a[i])/x)
		}
	}
	return median(v)
}
