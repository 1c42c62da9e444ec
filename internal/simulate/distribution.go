package simulate

import (
	"math"
	"math/rand/v2"
	"time"
)

// Shape is the form of a distribution.
type Shape string

// The shapes.
const (
	// Triangular has its most frequent value at Middle.
	Triangular Shape = "triangular"
	// LogNormal has its median at Middle and its 99th percentile at High;
	// what lies outside Low and High is cut off there. It fits what has a long
	// tail of slow cases, such as power-on self tests.
	LogNormal Shape = "log-normal"
)

// Distribution is how long something takes. Low <= Middle <= High; no draw lies
// outside Low and High.
type Distribution struct {
	Shape  Shape
	Low    time.Duration
	Middle time.Duration
	High   time.Duration
}

// z99 is the 99th percentile of the standard normal distribution.
const z99 = 2.3263478740408408

// Draw is one duration, in whole milliseconds.
func (d Distribution) Draw(r *rand.Rand) time.Duration {
	low, mid, high := float64(d.Low), float64(d.Middle), float64(d.High)
	var x float64
	switch {
	case d.High <= d.Low:
		x = low
	case d.Shape == LogNormal:
		x = mid * math.Exp(r.NormFloat64()*math.Log(high/mid)/z99)
	default:
		u := r.Float64()
		if cut := (mid - low) / (high - low); u < cut {
			x = low + math.Sqrt(u*(high-low)*(mid-low))
		} else {
			x = high - math.Sqrt((1-u)*(high-low)*(high-mid))
		}
	}
	return time.Duration(min(max(x, low), high)).Truncate(time.Millisecond)
}

// rejections bounds the draws of Rest.
const rejections = 64

// Rest is how much longer something takes that has taken elapsed already. What
// is later than the distribution foresees takes up to half as long again as it
// has taken so far: nothing is known about it but that it is late.
func (d Distribution) Rest(r *rand.Rand, elapsed time.Duration) time.Duration {
	if elapsed < d.High {
		for range rejections {
			if x := d.Draw(r); x > elapsed {
				return x - elapsed
			}
		}
	}
	return time.Duration(r.Float64() * float64(elapsed) / 2).Truncate(time.Millisecond)
}

// times is the distribution of a duration that is factor times as long.
func (d Distribution) times(factor float64) Distribution {
	scale := func(x time.Duration) time.Duration { return time.Duration(float64(x) * factor) }
	return Distribution{d.Shape, scale(d.Low), scale(d.Middle), scale(d.High)}
}
