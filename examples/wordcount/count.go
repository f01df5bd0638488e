package main

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// counts is how often each word was seen. As JSON it is a string, compressed: a step's result may be a mebibyte.
type counts map[string]int64

// add counts the words of a text: runs of up to 64 letters, digits and underscores, in lower case. What is longer is data. Bytes above ASCII count as letters.
func (c counts) add(text []byte) {
	for _, word := range bytes.FieldsFunc(bytes.ToLower(text), func(r rune) bool {
		return r < 0x80 && (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '_'
	}) {
		if len(word) <= 64 {
			c[string(word)]++
		}
	}
}

// take adds those counts that belong to a shard.
func (c counts) take(other counts, shard int) {
	for word, n := range other {
		if shardOf(word) == shard {
			c[word] += n
		}
	}
}

// lines lists the words in order, each with its number.
func (c counts) lines(w io.Writer) error {
	for _, word := range slices.Sorted(maps.Keys(c)) {
		if _, err := fmt.Fprintf(w, "%s %d\n", word, c[word]); err != nil {
			return err
		}
	}
	return nil
}

// MarshalJSON is the compressed lines.
func (c counts) MarshalJSON() ([]byte, error) {
	var text bytes.Buffer
	w := gzip.NewWriter(&text)
	if err := c.lines(w); err != nil {
		return nil, err
	}
	if err := w.Close(); err != nil {
		return nil, err
	}
	return json.Marshal(base64.StdEncoding.EncodeToString(text.Bytes()))
}

// UnmarshalJSON reads them.
func (c *counts) UnmarshalJSON(text []byte) error {
	var packed []byte // encoding/json reads base64 into bytes
	if err := json.Unmarshal(text, &packed); err != nil {
		return err
	}
	r, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	*c = counts{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20) // a word may be long
	for lines.Scan() {
		word, number, _ := strings.Cut(lines.Text(), " ")
		if (*c)[word], err = strconv.ParseInt(number, 10, 64); err != nil {
			return err
		}
	}
	return lines.Err()
}

// summary is what is left of the counts of some words at the end: enough to tell whether two of them are the same.
type summary struct {
	Words    int64    `json:"words"`
	Distinct int      `json:"distinct"`
	Sum      string   `json:"sum"` // of a hash of each word and its number, as 64 bits: in whatever order they are added
	Top      []ranked `json:"top"` // the most frequent
}

type ranked struct {
	Word  string `json:"word"`
	Count int64  `json:"count"`
}

// shards is how many reduce steps share the words.
const shards = 8

// shardOf is the reduce step that a word belongs to.
func shardOf(word string) int {
	h := fnv.New32a()
	_, _ = io.WriteString(h, word)
	return int(h.Sum32() % shards)
}

func (c counts) summary() summary {
	s := summary{Distinct: len(c)}
	var sum uint64
	for word, n := range c {
		s.Words += n
		hash := sha256.Sum256(fmt.Appendf(nil, "%s %d", word, n))
		sum += binary.BigEndian.Uint64(hash[:])
		s.Top = append(s.Top, ranked{word, n})
	}
	s.Sum = fmt.Sprintf("%016x", sum)
	s.cut()
	return s
}

// cut leaves the ten most frequent.
func (s *summary) cut() {
	slices.SortFunc(s.Top, func(a, b ranked) int { return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.Word, b.Word)) })
	s.Top = s.Top[:min(10, len(s.Top))]
}

// add adds the summary of other words.
func (s *summary) add(other summary) error {
	var a, b uint64
	if _, err := fmt.Sscanf("0"+s.Sum+" "+other.Sum, "%x %x", &a, &b); err != nil {
		return err
	}
	s.Words += other.Words
	s.Distinct += other.Distinct
	s.Sum = fmt.Sprintf("%016x", a+b)
	s.Top = append(s.Top, other.Top...)
	s.cut()
	return nil
}

// file is one to count.
type file struct {
	path string // below the folder
	size int64
}

// filesUnder lists the regular files under a folder. It follows no symbolic links.
func filesUnder(folder string) (files []file, err error) {
	err = filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		below, err := filepath.Rel(folder, path)
		files = append(files, file{below, info.Size()})
		return err
	})
	return files, err
}

// countFile adds the words of one file.
func (c counts) countFile(path string) error {
	text, err := os.ReadFile(path)
	if err == nil {
		c.add(text)
	}
	return err
}
