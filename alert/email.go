package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/wneessen/go-mail"

	"github.com/weirhq/weir/jobs"
	"github.com/weirhq/weir/webhook"
)

// mail sends the alert as plain text. Attempts of one message have one Message-Id, and all messages about an alert are one thread.
func (s *Sender) mail(ctx context.Context, m jobs.AlertMessage, n notice) (problem string) {
	ctx, cancel := context.WithTimeout(ctx, m.Target.Timeout())
	defer cancel()
	message, err := s.mailMessage(m, n)
	if err != nil {
		return "the message cannot be written: " + err.Error()
	}
	client, err := s.mailClient(m.Target)
	if err != nil {
		return "the target's settings cannot be used: " + err.Error()
	}
	if err := client.DialAndSendWithContext(ctx, message); err != nil {
		return explainMail(err, m.Target)
	}
	return ""
}

func (s *Sender) mailMessage(m jobs.AlertMessage, n notice) (*mail.Msg, error) {
	message := mail.NewMsg()
	if err := message.From(m.Target.From); err != nil {
		return nil, err
	}
	if err := message.To(m.Target.To...); err != nil {
		return nil, err
	}
	_, domain, _ := strings.Cut(m.Target.From, "@")
	thread := fmt.Sprintf("%s@%s", n.dedupKey(), domain)
	message.Subject(n.title())
	message.SetDateWithValue(s.clock.Now())
	message.SetMessageIDWithValue(fmt.Sprintf("%s.%s@%s", n.dedupKey(), m.ID, domain))
	message.SetGenHeader("References", "<"+thread+">")
	message.SetGenHeader("In-Reply-To", "<"+thread+">")
	message.SetGenHeader("Auto-Submitted", "auto-generated")
	if n.Severity == "critical" && n.Event == "opened" {
		message.SetImportance(mail.ImportanceHigh)
	}
	message.SetBodyString(mail.TypeTextPlain, mailText(n))
	return message, nil
}

// mailText is the body: what is wrong, what to do, the facts, the link.
func mailText(n notice) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n", n.title())
	if n.Description != "" {
		fmt.Fprintf(&b, "\n%s\n", n.Description)
	}
	b.WriteString("\n")
	for _, f := range n.facts() {
		fmt.Fprintf(&b, "%-14s %s\n", f.name+":", f.value)
	}
	if n.Link != "" {
		fmt.Fprintf(&b, "\n%s\n", n.Link)
	}
	return b.String()
}

func (s *Sender) mailClient(to jobs.AlertAddress) (*mail.Client, error) {
	encrypted := &tls.Config{RootCAs: s.roots, ServerName: to.Host, MinVersion: tls.VersionTLS12}
	options := []mail.Option{mail.WithPort(to.Port), mail.WithTimeout(to.Timeout()), mail.WithTLSConfig(encrypted), mail.WithHELO("weir.localdomain")}
	dial := s.http.DialContext
	switch to.TLS {
	case "implicit":
		dial = func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := s.http.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			secure := tls.Client(conn, encrypted)
			if err := secure.HandshakeContext(ctx); err != nil {
				return nil, errors.Join(err, conn.Close())
			}
			return secure, nil
		}
		options = append(options, mail.WithSSL())
	case "none":
		options = append(options, mail.WithTLSPolicy(mail.NoTLS))
	default:
		options = append(options, mail.WithTLSPolicy(mail.TLSMandatory))
	}
	options = append(options, mail.WithDialContextFunc(dial))
	if to.Username != "" {
		options = append(options, mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthPlain, mail.SMTPAuthLogin),
			mail.WithUsername(to.Username), mail.WithPassword(to.Password))
	}
	return mail.NewClient(to.Host, options...)
}

// explainMail says why sending failed, as webhook.Explain does for HTTP.
func explainMail(err error, to jobs.AlertAddress) string {
	return webhook.Explain(err, to.Timeout())
}
