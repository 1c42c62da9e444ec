package messages

import "github.com/rackreach/rackreach/internal/rack"

// FromRun makes the message of a run. transferred is how many bytes of its image a
// device was sent, and of how many; nil: nobody knows. The caller fills in what
// the run does not know: last_seq, last_time, driven, speed, agent.
func FromRun(run *rack.Run, transferred func(device string) (sent, size int64)) *Rack {
	if transferred == nil {
		transferred = func(string) (sent, size int64) { return 0, 0 }
	}
	out := &Rack{Name: RackName(run.Rack.Name), Run: run.ID, PlanHash: run.PlanHash, Status: string(run.Status), Cause: run.Cause, Blamed: run.Blamed, Only: run.Only, Bundle: run.Bundle, SignedBy: run.SignedBy}
	for i := range run.Rack.Devices {
		dev := &run.Rack.Devices[i]
		d := run.Device(dev.Name)
		sent, size := transferred(dev.Name)
		status := string(d.Status)
		if run.Uncertain(dev.Name) {
			status = "uncertain"
		}
		remedy := ""
		if d.Status == rack.Failed {
			remedy = run.Remedy(dev.Name)
		}
		out.Devices = append(out.Devices, &Device{Remedy: remedy, Name: DeviceName(run.Rack.Name, dev.Name), Role: string(dev.Role), Platform: dev.Platform,
			Address: dev.Address.String(), Status: status, Step: d.Step, Attempt: uint32(d.Attempt), Held: d.Held, Error: d.Error,
			Progress: run.Progress(dev.Name, sent, size), Sent: sent, Size: size, Ordered: d.Ordered, Holds: d.Holds})
	}
	return out
}
