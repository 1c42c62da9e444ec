package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"charm.land/lipgloss/v2"
	"github.com/mattn/go-isatty"

	"github.com/rackreach/rackreach/internal/rack"
)

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && isatty.IsTerminal(f.Fd())
}

// tableView draws a live table in a terminal: a bar per device, its phase and
// step, the time it took, and the rack's progress.
type tableView struct {
	out     io.Writer
	program *tea.Program
	model   *tableModel
	done    chan error
}

func newTableView(out io.Writer, r *rack.Rack, platforms map[string]rack.Platform, transferred func(string) (int64, int64), color bool) *tableView {
	if transferred == nil {
		transferred = func(string) (int64, int64) { return 0, 0 }
	}
	m := &tableModel{rack: r, transferred: transferred, run: rack.NewRun(r, platforms), began: map[string]time.Time{}, ended: map[string]time.Time{}, steps: map[string]time.Time{}, styles: plainStyles()}
	if color {
		m.styles = colorStyles()
	}
	return &tableView{out: out, model: m, done: make(chan error, 1)}
}

func (v *tableView) begin(preamble []string) error {
	if err := printLines(v.out, preamble); err != nil {
		return err
	}
	v.program = tea.NewProgram(v.model, tea.WithOutput(v.out), tea.WithoutSignalHandler())
	go func() {
		_, err := v.program.Run()
		v.done <- err
	}()
	return nil
}

func (v *tableView) onQuit(stop func()) { v.model.stop = stop }

func (v *tableView) show(events []rack.Event) error {
	v.program.Send(events)
	return nil
}

// foretell shows an outlook from now on.
func (v *tableView) foretell(o outlook) { v.program.Send(o) }

func (v *tableView) end(o outcome) error {
	v.program.Send(finalFrame{})
	if err := <-v.done; err != nil {
		return fmt.Errorf("draw the table: %w", err)
	}
	return printLines(v.out, append([]string{""}, o.last...))
}

// Messages of the table.
type (
	tick       time.Time
	finalFrame struct{}
)

// frameInterval is how often the table is drawn anew for its clocks and bytes.
const frameInterval = 100 * time.Millisecond

type styles struct {
	title, dim, good, bad, busy lipgloss.Style
}

func plainStyles() styles { return styles{} }

func colorStyles() styles {
	c := func(n string) lipgloss.Style { return lipgloss.NewStyle().Foreground(lipgloss.Color(n)) }
	return styles{title: lipgloss.NewStyle().Bold(true), dim: c("8"), good: c("2"), bad: c("1"), busy: c("6")}
}

// tableModel is the state of the table; bubbletea calls it from one goroutine.
type tableModel struct {
	rack        *rack.Rack
	transferred func(device string) (sent, size int64)
	run         *rack.Run
	stop        func()
	styles      styles

	width, height int
	first, last   time.Time
	began, ended  map[string]time.Time // by device: first and last event
	steps         map[string]time.Time // by device: start of its step
	outlook       outlook
	final         bool
	stopping      bool
}

var _ tea.Model = (*tableModel)(nil)

// Init implements tea.Model.
func (m *tableModel) Init() tea.Cmd { return nextFrame() }

func nextFrame() tea.Cmd {
	return tea.Tick(frameInterval, func(t time.Time) tea.Msg { return tick(t) })
}

// Update implements tea.Model.
func (m *tableModel) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch x := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = x.Width, x.Height
	case tea.KeyPressMsg:
		if x.String() == "ctrl+c" || x.String() == "q" {
			m.stopping = true
			m.stop()
		}
	case tick:
		m.last = time.Time(x)
		return m, nextFrame()
	case outlook:
		m.outlook = x
	case finalFrame:
		m.final = true
		return m, tea.Quit
	case []rack.Event:
		for _, e := range x {
			m.apply(e)
		}
	}
	return m, nil
}

func (m *tableModel) apply(e rack.Event) {
	m.run.Apply(e)
	if m.first.IsZero() {
		m.first = e.Time
	}
	m.last = e.Time
	if e.Device == "" {
		return
	}
	switch e.Kind {
	case rack.DeviceDiscovered:
		m.began[e.Device] = e.Time
	case rack.StepStarted:
		m.steps[e.Device] = e.Time
	case rack.DeviceReady, rack.DeviceFailed:
		m.ended[e.Device] = e.Time
	}
}

// frameLines are the lines around the devices' rows: header, column titles, the
// line of what is left out, and one to spare for the prompt.
const frameLines = 5

// View implements tea.Model.
func (m *tableModel) View() tea.View { return tea.NewView(m.text()) }

// text is what a frame shows.
func (m *tableModel) text() string {
	var b strings.Builder
	ready, failed := m.run.Tally()
	var sum float64
	names := make([]string, 0, len(m.rack.Devices))
	for i := range m.rack.Devices {
		name := m.rack.Devices[i].Name
		names = append(names, name)
		sum += m.progress(name)
	}
	head := fmt.Sprintf("rack %s  %s%3.0f%%  %d/%d ready", m.rack.Name, m.bar(sum/float64(len(names)), 30), 100*sum/float64(len(names)), ready, len(names))
	if failed > 0 {
		head += fmt.Sprintf(", %d failed", failed)
	}
	head += fmt.Sprintf("  %s  %s", m.run.Status, elapsed(m.first, m.last))
	if m.stopping {
		head += "  stopping"
	}
	if left := m.outlook.String(); left != "" && !m.final && m.run.Status == rack.Imaging {
		head += "  " + left
	}
	fmt.Fprintf(&b, "%s\n\n", m.styles.title.Render(m.cut(head)))
	shown, hidden := m.pick(names)
	for _, name := range shown {
		b.WriteString(m.row(name) + "\n")
	}
	if hidden > 0 {
		b.WriteString(m.styles.dim.Render(m.cut(fmt.Sprintf("… and %d more: make the window higher to see them", hidden))) + "\n")
	}
	return b.String()
}

func (m *tableModel) progress(name string) float64 {
	sent, size := m.transferred(name)
	return m.run.Progress(name, sent, size)
}

// pick chooses the rows when the window is too low for all: what is worked on
// or failed first, in the order of the rack file.
func (m *tableModel) pick(names []string) (shown []string, hidden int) {
	room := m.height - frameLines
	if m.final || m.height == 0 || room >= len(names) {
		return names, 0
	}
	room = max(room, 1)
	keep := map[string]bool{}
	for _, busy := range []bool{true, false} {
		for _, n := range names {
			s := m.run.Device(n).Status
			if len(keep) < room && busy == (s != rack.Ready && s != rack.Waiting) {
				keep[n] = true
			}
		}
	}
	for _, n := range names {
		if keep[n] {
			shown = append(shown, n)
		}
	}
	return shown, len(names) - len(shown)
}

func (m *tableModel) row(name string) string {
	d := m.run.Device(name)
	p := m.progress(name)
	end, over := m.ended[name]
	if !over {
		end = m.last
	}
	text, style := m.doing(name, d)
	line := fmt.Sprintf("%-15s %s%3.0f%%  %-13s %6s  ", name, m.bar(p, 20), 100*p, d.Status, elapsed(m.began[name], end))
	if m.narrow() {
		line = fmt.Sprintf("%-12s %3.0f%%  %s  ", name, 100*p, d.Status)
	}
	return style.Render(m.cut(line + text))
}

// leastWidth is the width of a window, in cells, that has room for bars and times
// beside what a device does.
const leastWidth = 80

func (m *tableModel) narrow() bool { return m.width > 0 && m.width < leastWidth }

// bar is a bar and a space; in a narrow window nothing, for words say more.
func (m *tableModel) bar(share float64, width int) string {
	if m.narrow() {
		return ""
	}
	return bar(share, width) + " "
}

// cut shortens a line to the width of the window.
func (m *tableModel) cut(line string) string {
	if r := []rune(line); m.width > 0 && len(r) > m.width {
		return string(r[:m.width-1]) + "…"
	}
	return line
}

// doing says what a device does right now, and how that looks.
func (m *tableModel) doing(name string, d rack.DeviceState) (string, lipgloss.Style) {
	switch {
	case d.Status == rack.Failed:
		return d.Error, m.styles.bad
	case d.Status == rack.Ready:
		return "", m.styles.good
	case d.Status == rack.Skipped:
		return d.Ordered, m.styles.dim
	case d.Held != "":
		return "held: " + d.Held, m.styles.dim
	case d.Status == rack.Waiting:
		return "", m.styles.dim
	}
	text := fmt.Sprintf("%s %s", d.Step, elapsed(m.steps[name], m.last))
	if m.outlook.slow[name] == d.Step {
		text += ", slower than usual"
	}
	if d.Attempt > 1 {
		text += fmt.Sprintf(", attempt %d", d.Attempt)
	}
	if d.Error != "" {
		text += ", before: " + d.Error
	}
	return text, m.styles.busy
}

func elapsed(from, to time.Time) string {
	if from.IsZero() || to.Before(from) {
		return ""
	}
	if d := to.Sub(from); d < time.Minute {
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return to.Sub(from).Round(time.Second).String()
}

// bar draws a share, 0 to 1, in width cells.
func bar(share float64, width int) string {
	full := int(share*float64(width) + 0.5)
	full = min(max(full, 0), width)
	return strings.Repeat("█", full) + strings.Repeat("░", width-full)
}
