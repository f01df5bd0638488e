package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/alecthomas/kong"
)

// typedLine is the part of a command line before the cursor's word.
type typedLine struct {
	node    *kong.Node
	args    int                   // positional arguments so far
	waiting *kong.Flag            // the flag whose value comes next; nil: none
	flags   map[*kong.Flag]string // those given, with their values
	over    bool                  // -- has ended the flags
}

// readLine follows the words down the tree of commands. It never fails: a word that it does not know changes nothing.
func readLine(root *kong.Node, words []string) *typedLine {
	line := &typedLine{node: root, flags: map[*kong.Flag]string{}}
	for _, word := range words {
		line.take(word)
	}
	return line
}

func (l *typedLine) take(word string) {
	name, value, valued := strings.Cut(word, "=")
	switch {
	case l.waiting != nil:
		l.flags[l.waiting] = word
		l.waiting = nil
	case l.over:
		l.args++
	case word == "--":
		l.over = true
	case len(word) > 1 && word[0] == '-':
		flag := l.flag(name)
		if flag == nil {
			return
		}
		l.flags[flag] = value
		if !valued && !flag.IsBool() && !flag.IsCounter() {
			l.waiting = flag
		}
	default:
		if below := l.command(word); below != nil && l.args == 0 {
			l.node = below
		} else {
			l.args++
		}
	}
}

// scope is the commands whose flags and arguments may follow: where the line is, and those that it stands for.
func (l *typedLine) scope() []*kong.Node {
	nodes := []*kong.Node{l.node}
	for node := l.node.DefaultCmd; node != nil; node = node.DefaultCmd {
		nodes = append(nodes, node)
	}
	return nodes
}

func (l *typedLine) command(word string) *kong.Node {
	for _, child := range l.node.Children {
		if child.Name == word || slices.Contains(child.Aliases, word) {
			return child
		}
	}
	return nil
}

// allFlags are the flags that may follow, without hidden ones.
func (l *typedLine) allFlags() []*kong.Flag {
	var all []*kong.Flag
	for _, node := range l.scope() {
		for _, group := range node.AllFlags(true) {
			for _, flag := range group {
				if !slices.Contains(all, flag) {
					all = append(all, flag)
				}
			}
		}
	}
	return all
}

// flag finds a flag by --name or -n.
func (l *typedLine) flag(word string) *kong.Flag {
	for _, flag := range l.allFlags() {
		if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
			return flag
		}
	}
	return nil
}

// argument is the positional argument at the cursor; nil: none.
func (l *typedLine) argument() *kong.Positional {
	for _, node := range l.scope() {
		if n := len(node.Positional); n > 0 {
			last := node.Positional[n-1]
			switch {
			case l.args < n:
				return node.Positional[l.args]
			case last.IsCumulative() || last.Passthrough:
				return last
			}
		}
	}
	return nil
}

// choices are the words that may follow and begin with a text; files: the names of files may.
func (l *typedLine) choices(ctx context.Context, s *Session, begin string) (found []choice, files bool) {
	name, value, valued := strings.Cut(begin, "=")
	switch {
	case l.waiting != nil:
		return l.values(ctx, s, l.waiting.Value, "", begin)
	case !l.over && strings.HasPrefix(begin, "--") && valued:
		if flag := l.flag(name); flag != nil {
			return l.values(ctx, s, flag.Value, name+"=", value)
		}
		return nil, false
	case !l.over && strings.HasPrefix(begin, "-"):
		for _, flag := range l.allFlags() {
			if _, given := l.flags[flag]; !given || flag.IsCumulative() {
				found = append(found, choice{"--" + flag.Name, flag.Help})
			}
		}
		return beginning(found, begin), false
	}
	if l.args == 0 && !l.over {
		for _, child := range l.node.Children {
			if !child.Hidden {
				found = append(found, choice{child.Name, child.Help})
			}
		}
		found = beginning(found, begin)
	}
	if argument := l.argument(); argument != nil {
		values, files := l.values(ctx, s, argument, "", begin)
		return append(found, values...), files
	}
	return found, false
}

// values are what a flag or an argument takes. What stands before the value goes before each.
func (l *typedLine) values(ctx context.Context, s *Session, v *kong.Value, before, begin string) (found []choice, files bool) {
	if v.IsSlice() && v.Tag.Sep == ',' {
		if comma := strings.LastIndexByte(begin, ','); comma >= 0 {
			before, begin = before+begin[:comma+1], begin[comma+1:]
		}
	}
	noun := v.Tag.Get("complete")
	if noun == "" && v.Flag != nil {
		noun = v.Name
	}
	source, named := nameSources[noun]
	switch {
	case v.Enum != "":
		for _, word := range v.EnumSlice() {
			found = append(found, choice{word, ""})
		}
	case noun == "job_state":
		for _, word := range jobStates {
			found = append(found, choice{word, ""})
		}
	case named:
		found = l.names(ctx, s, source)
	case v.Flag != nil && v.Flag.PlaceHolder == "FILE", v.Tag.Type != "", v.Passthrough, v.Name == "file":
		return nil, true
	}
	found = beginning(found, begin)
	for i := range found {
		found[i].word = before + found[i].word
	}
	return found, false
}

// beginning keeps the choices that begin with a text.
func beginning(all []choice, text string) []choice {
	return slices.DeleteFunc(all, func(c choice) bool { return c.word == "" || !strings.HasPrefix(c.word, text) })
}
