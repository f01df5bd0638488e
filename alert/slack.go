package alert

import "strings"

// slack is a message for an incoming webhook of Slack, which Mattermost and Rocket.Chat take too.
type slack struct {
	Text        string            `json:"text"`
	Attachments []slackAttachment `json:"attachments"`
}

type slackAttachment struct {
	Color     string       `json:"color"`
	Fallback  string       `json:"fallback"`
	Title     string       `json:"title,omitempty"`
	TitleLink string       `json:"title_link,omitempty"`
	Text      string       `json:"text,omitempty"`
	Fields    []slackField `json:"fields,omitempty"`
}

type slackField struct {
	Title string `json:"title"`
	Value string `json:"value"`
	Short bool   `json:"short"`
}

var slackColors = map[string]string{"critical": "#d00000", "warning": "#e0a000", "info": "#4080c0"}

// slackEscape keeps text from being read as a mention or a link.
var slackEscape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;")

func slackMessage(n notice) slack {
	a := slackAttachment{Color: slackColors[n.Severity], Fallback: slackEscape.Replace(n.title()), Text: slackEscape.Replace(n.Description)}
	if n.Event == "resolved" {
		a.Color = "#30a030"
	}
	if n.Link != "" {
		a.Title, a.TitleLink = "Alert "+n.AlertID, n.Link
	}
	for _, f := range n.facts() {
		a.Fields = append(a.Fields, slackField{Title: f.name, Value: slackEscape.Replace(f.value), Short: len(f.value) < 40})
	}
	return slack{Text: slackEscape.Replace(n.title()), Attachments: []slackAttachment{a}}
}
