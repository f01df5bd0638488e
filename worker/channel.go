package worker

import (
	"io"
	"os"
	"os/exec"
	"time"
)

// reportDescriptor is the file descriptor to which a program reports, which is in WEIR_JOB_REPORT_FD.
const reportDescriptor = "3"

// channel is the pipe on which a program reports.
type channel struct {
	to     *reports
	reader *os.File
	writer *os.File // the program's end
	done   chan struct{}
}

// newChannel gives a program its end of a pipe, before it starts.
func newChannel(cmd *exec.Cmd, to *reports) (*channel, error) {
	reader, writer, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.ExtraFiles = []*os.File{writer}
	return &channel{to: to, reader: reader, writer: writer, done: make(chan struct{})}, nil
}

// abandon closes the pipe of a program that did not start.
func (c *channel) abandon() {
	_ = c.reader.Close()
	_ = c.writer.Close()
}

// listen reads what the program reports, which has started.
func (c *channel) listen() {
	_ = c.writer.Close()
	go func() {
		defer close(c.done)
		_, _ = io.Copy(c.to, c.reader)
	}()
}

// end reads what is left after the program has ended. A process that it started may hold on to the pipe, but not for
// long.
func (c *channel) end() {
	_ = c.reader.SetReadDeadline(time.Now().Add(pipeWait))
	<-c.done
	_ = c.reader.Close()
	c.to.end()
}
