package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/colorprofile"

	"github.com/weirhq/weir/rest"
)

type topCommand struct {
	Every duration `help:"How often to ask the node: 1s or longer. Each time takes at most seven calls, whatever the number of queues." default:"2s" placeholder:"TIME"`
	Once  bool     `help:"Print one frame as plain text."`
	Sort  string   `help:"Sort queues by this column: ${enum}." enum:"waiting,running,later,held,dead,in,out,failing,oldest,p95,name" default:"waiting"`
	ServiceFlags
}

const (
	topWidth     = 120 // of a frame that is not for a terminal
	topOnceReads = 8   // how often --once reads: each time reads the waits of two more queues
)

// Validate is called by kong.
func (c *topCommand) Validate() error {
	if time.Duration(c.Every) < time.Second {
		return Usagef("--every must be at least 1s")
	}
	return nil
}

// Run shows the live screen, or one frame of it.
func (c *topCommand) Run(ctx context.Context, s *Session) error {
	if !c.Once && !s.Screen {
		return Usagef("weir top needs a terminal: --once prints one frame")
	}
	weir, err := c.Client(s)
	if err != nil {
		return err
	}
	reader := &topReader{weir: weir, waits: map[string]*topWait{}, whys: map[string]topWhy{}}
	first, err := reader.read(ctx, nil)
	if err != nil {
		return err
	}
	m := &topModel{ctx: ctx, reader: reader, every: time.Duration(c.Every), url: weir.URL(), paint: s.Paint}
	m.sortBy(c.Sort)
	m.take(first, nil)
	if c.Once {
		return c.printOnce(s, m)
	}
	profile := colorprofile.ANSI
	if !s.Paint {
		profile = colorprofile.ASCII
	}
	_, err = tea.NewProgram(m, tea.WithContext(ctx), tea.WithInput(s.In), tea.WithOutput(s.Out), tea.WithColorProfile(profile),
		tea.WithoutSignalHandler()).Run()
	if errors.Is(err, tea.ErrInterrupted) || ctx.Err() != nil {
		return nil
	}
	return errors.Join(err, m.refused)
}

// printOnce reads what a live screen reads little by little, and prints all rows.
func (c *topCommand) printOnce(s *Session, m *topModel) error {
	m.paint, m.once = false, true
	for range topOnceReads {
		latest, err := m.reader.read(m.ctx, m.wanted())
		if err != nil {
			return err
		}
		m.take(latest, nil)
	}
	for _, line := range m.frame(topWidth, 0) {
		if _, err := fmt.Fprintln(s.Out, line); err != nil {
			return err
		}
	}
	return nil
}

// Init is called by the terminal's loop, as are Update and View.
func (m *topModel) Init() tea.Cmd { return m.tick() }

// View draws the screen.
func (m *topModel) View() tea.View {
	view := tea.NewView(m.text())
	view.AltScreen = true
	return view
}

// The messages of the loop.
type (
	topTick struct{}
	topRead struct {
		snapshot *topSnapshot
		err      error
	}
	topDetail struct {
		queue  string
		detail *queueDetail
		err    error
	}
)

// Update takes a message.
func (m *topModel) Update(message tea.Msg) (tea.Model, tea.Cmd) {
	switch message := message.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = message.Width, message.Height
	case topTick:
		if m.paused {
			return m, m.tick()
		}
		return m, tea.Batch(m.tick(), m.refresh())
	case topRead:
		m.reading = false
		m.take(message.snapshot, message.err)
		if rest.Refused(message.err) { // the key was revoked
			m.refused = message.err
			return m, tea.Quit
		}
	case topDetail:
		if m.detail != nil && message.queue == m.detail.name && message.err == nil {
			m.detail = message.detail
		}
	case tea.KeyPressMsg:
		return m, m.press(message.String(), message.Text)
	}
	return m, nil
}

func (m *topModel) tick() tea.Cmd {
	return tea.Tick(m.every, func(time.Time) tea.Msg { return topTick{} })
}

// refresh reads the node, unless it is being read.
func (m *topModel) refresh() tea.Cmd {
	if m.reading {
		return nil
	}
	m.reading = true
	wanted := m.wanted()
	read := func() tea.Msg {
		snapshot, err := m.reader.read(m.ctx, wanted)
		return topRead{snapshot, err}
	}
	if m.detail == nil {
		return read
	}
	return tea.Batch(read, m.readDetail())
}

// readDetail reads the queue that is shown alone: two more calls.
func (m *topModel) readDetail() tea.Cmd {
	queue := m.detail.name
	return func() tea.Msg {
		detail, err := m.reader.detail(m.ctx, queue)
		return topDetail{queue, detail, err}
	}
}
