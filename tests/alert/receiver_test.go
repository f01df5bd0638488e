package alert

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// receiver is an HTTPS server that keeps what is posted to it.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []posted
	status int           // of the answers; 0: 202
	hang   chan struct{} // while set, answers wait for its end
}

type posted struct {
	path   string
	header http.Header
	body   []byte
	json   map[string]any
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{}
	r.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, request *http.Request) {
		body, _ := io.ReadAll(request.Body)
		p := posted{path: request.URL.Path, header: request.Header, body: body}
		if err := json.Unmarshal(body, &p.json); err != nil || request.Header.Get("Content-Type") != "application/json" {
			t.Errorf("posted %s with %v: %v", body, request.Header, err)
		}
		r.mu.Lock()
		r.got = append(r.got, p)
		status, hang := r.status, r.hang
		r.mu.Unlock()
		if hang != nil {
			select {
			case <-hang:
			case <-request.Context().Done():
			}
		}
		if status == 0 {
			status = http.StatusAccepted
		}
		w.WriteHeader(status)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) received() []posted {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

func (r *receiver) answerWith(status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.status = status
}

// mailbox is an SMTP server that keeps what is sent to it.
type mailbox struct {
	port                int
	certificate         *x509.Certificate
	username, password  string // that it asks for; empty: none
	mu                  sync.Mutex
	got                 []letter
	refuseNext, refused int
}

type letter struct {
	from      string
	to        []string
	subject   string
	header    mail.Header
	text      string
	encrypted bool
	user      string
}

// newMailbox starts a server; implicit: TLS from the first byte, else STARTTLS, unless plain.
func newMailbox(t *testing.T, how, username, password string) *mailbox {
	t.Helper()
	certified := httptest.NewTLSServer(nil) // for its certificate
	t.Cleanup(certified.Close)
	m := &mailbox{certificate: certified.Certificate(), username: username, password: password}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		_, encrypted := c.TLSConnectionState()
		return &session{box: m, letter: letter{encrypted: encrypted}}, nil
	}))
	server.Domain = "mail.example.com"
	config := &tls.Config{Certificates: certified.TLS.Certificates}
	if how != "plain" {
		server.TLSConfig = config
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.port = listener.Addr().(*net.TCPAddr).Port
	if how == "implicit" {
		listener = tls.NewListener(listener, config)
	}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	return m
}

func (m *mailbox) received() []letter {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.got)
}

type session struct {
	box    *mailbox
	letter letter
}

func (s *session) AuthMechanisms() []string {
	if s.box.username == "" || !s.letter.encrypted {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if username != s.box.username || password != s.box.password {
			return smtp.ErrAuthFailed
		}
		s.letter.user = username
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.box.username != "" && s.letter.user == "" {
		return smtp.ErrAuthRequired
	}
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	if s.box.refused < s.box.refuseNext {
		s.box.refused++
		return &smtp.SMTPError{Code: 451, EnhancedCode: smtp.EnhancedCode{4, 3, 0}, Message: "try again later"}
	}
	s.letter.from = from
	return nil
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.letter.to = append(s.letter.to, to)
	return nil
}

func (s *session) Data(r io.Reader) error {
	message, err := mail.ReadMessage(r)
	if err != nil {
		return err
	}
	s.letter.header = message.Header
	if s.letter.subject, err = new(mime.WordDecoder).DecodeHeader(message.Header.Get("Subject")); err != nil {
		return err
	}
	body := message.Body
	if strings.EqualFold(message.Header.Get("Content-Transfer-Encoding"), "quoted-printable") {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	if err != nil {
		return err
	}
	s.letter.text = string(text)
	s.box.mu.Lock()
	defer s.box.mu.Unlock()
	s.box.got = append(s.box.got, s.letter)
	return nil
}

func (s *session) Reset() {}

func (s *session) Logout() error { return nil }
