// Renders conversations with a Modelfile's TEMPLATE as Ollama does: the same reading of the Modelfile (no escapes, characters that do
// not print are dropped), the same joining of messages, the same values and the same option of Go's text/template.
//
// stdin:  {"modelfile": text, "conversations": [[{"role", "content"}, ...], ...]}
// stdout: {"commands": [[name, value], ...], "texts": [text, ...]}
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"strings"
	"text/template"
)

type toolCall struct {
	Function struct {
		Name      string
		Arguments map[string]any
	}
}

type message struct {
	Role      string `json:"role"`
	Content   string `json:"content"`
	Thinking  string
	ToolCalls []toolCall
}

type request struct {
	Modelfile     string      `json:"modelfile"`
	Conversations [][]message `json:"conversations"`
}

type answer struct {
	Commands [][2]string `json:"commands"`
	Texts    []string    `json:"texts"`
}

// commands reads NAME VALUE lines; a value may be quoted by one or three quotation marks, over several lines.
func commands(text string) ([][2]string, error) {
	var found [][2]string
	for text != "" {
		line, rest, _ := strings.Cut(text, "\n")
		if strings.TrimSpace(line) == "" || strings.HasPrefix(line, "#") {
			text = rest
			continue
		}
		name, value, ok := strings.Cut(line, " ")
		if !ok {
			return nil, fmt.Errorf("%q has no value", line)
		}
		for _, quote := range []string{`"""`, `"`} {
			if !strings.HasPrefix(value, quote) {
				continue
			}
			for len(value) < 2*len(quote) || !strings.HasSuffix(value, quote) {
				if rest == "" {
					return nil, fmt.Errorf("%s is not closed", name)
				}
				line, rest, _ = strings.Cut(rest, "\n")
				value += "\n" + line
			}
			value = value[len(quote) : len(value)-len(quote)]
			break
		}
		found = append(found, [2]string{name, printable(value)})
		text = rest
	}
	return found, nil
}

func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if strconv.IsPrint(r) || strings.ContainsRune(" \t\r\n", r) {
			return r
		}
		return -1
	}, text)
}

// collate joins messages of a role that follow one another, and all system messages.
func collate(messages []message) (string, []*message) {
	var system []string
	var joined []*message
	for i := range messages {
		if messages[i].Role == "system" {
			system = append(system, messages[i].Content)
		}
		if last := len(joined) - 1; last >= 0 && joined[last].Role == messages[i].Role {
			joined[last].Content += "\n\n" + messages[i].Content
		} else {
			joined = append(joined, &messages[i])
		}
	}
	return strings.Join(system, "\n\n"), joined
}

func run() error {
	var asked request
	if err := json.NewDecoder(os.Stdin).Decode(&asked); err != nil {
		return err
	}
	read, err := commands(asked.Modelfile)
	if err != nil {
		return err
	}
	result := answer{Commands: read}
	functions := template.FuncMap{"json": func(value any) string {
		text, _ := json.Marshal(value)
		return string(text)
	}}
	for _, command := range read {
		if command[0] != "TEMPLATE" {
			continue
		}
		parsed, err := template.New("").Option("missingkey=zero").Funcs(functions).Parse(command[1])
		if err != nil {
			return err
		}
		for _, conversation := range asked.Conversations {
			system, messages := collate(conversation)
			values := map[string]any{"System": system, "Messages": messages, "Tools": nil, "Response": "", "Think": false, "IsThinkSet": false}
			var text bytes.Buffer
			if err := parsed.Execute(&text, values); err != nil {
				return err
			}
			result.Texts = append(result.Texts, text.String())
		}
	}
	return json.NewEncoder(os.Stdout).Encode(result)
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
