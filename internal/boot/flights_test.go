package boot

import (
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rackreach/rackreach/internal/rack"
)

// TestReportWaits until what its device has is told: it may come first, and a step would fail
// that the device is past.
func TestReportWaits(t *testing.T) {
	b := newBench(t)
	served := b.desk.Load().byToken[b.open.Token].served
	land := served.flights.begin()
	first := served.flights.begin()
	answered := make(chan int)
	go func() {
		status, _, _ := b.do(http.MethodPost, "/report/"+b.open.Token, strings.NewReader(`{"state":"failed","message":"disk"}`))
		answered <- status
	}()
	first()
	for waits := false; !waits; { // the report has come, and waits for the other one
		select {
		case status := <-answered:
			t.Fatalf("answered with %d while an image is on its way", status)
		default:
			runtime.Gosched()
		}
		served.flights.mu.Lock()
		waits = served.flights.landed != nil
		served.flights.mu.Unlock()
	}
	b.mu.Lock()
	if n := len(b.reports); n > 0 {
		t.Errorf("%d reports were handed on while an image is on its way", n)
	}
	b.mu.Unlock()
	served.add(span{0, imageSize})
	land()
	if status := <-answered; status != http.StatusNoContent || len(b.evidence()) != 1 || b.evidence()[0] != rack.FetchedImage {
		t.Errorf("%d, evidence %v", status, b.evidence())
	}
}

// TestFlights: nobody waits for nothing, nor for ever.
func TestFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights
		began := time.Now()
		f.wait(t.Context(), landLimit)
		land := f.begin()
		go func() { time.Sleep(landLimit / 2); land() }()
		f.wait(t.Context(), landLimit)
		if took := time.Since(began); took != landLimit/2 {
			t.Errorf("it landed after %s", took)
		}
		f.begin()
		f.wait(t.Context(), landLimit)
		if took := time.Since(began); took != landLimit/2+landLimit {
			t.Errorf("one that never lands was waited for until %s", took)
		}
	})
}
