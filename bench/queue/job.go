package queue

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
)

// Job is what every system is given to enqueue: a number, counted from 1, and args of JSON that begin with it.
type Job struct {
	Number int64
	Args   []byte
}

// MakeJob returns job `number` with args of about size bytes, at least 100. The same number always gives the same args, no
// two numbers give alike ones, and they look like what applications send: names, addresses, amounts, prose. It is quick, a tenth
// of what the quickest system takes for a job, because all systems pay for it alike: what is random is cut out of a text that was made before.
func MakeJob(number int64, size int) Job {
	random := rand.New(rand.NewPCG(uint64(number), 0x77656972))
	b := make([]byte, 0, size+32)
	b = append(strconv.AppendInt(append(b, `{"n": `...), number, 10), `, "order": "`...)
	b = strconv.AppendUint(b, random.Uint64()|1<<63, 16)
	b = append(append(append(b, `", "email": "`...), names[random.IntN(len(names))]...), '.')
	b = strconv.AppendInt(append(b, names[random.IntN(len(names))]...), random.Int64N(10000), 10)
	b = append(append(append(b, "@example."...), endings[random.IntN(len(endings))]...), `", "cents": `...)
	b = append(strconv.AppendInt(b, random.Int64N(1000000), 10), `, "text": "`...)
	for size-2 > len(b) {
		part := min(size-2-len(b), 4096)
		from := random.IntN(len(prose) - part)
		b = append(b, prose[from:from+part]...)
	}
	return Job{Number: number, Args: append(b, `"}`...)}
}

// prose is half a million letters of words, and names a thousand of them.
var prose, names = func() (prose string, names []string) {
	random := rand.New(rand.NewPCG(0, 0x77656972))
	var b strings.Builder
	for b.Len() < 1<<19 {
		w := word(random)
		if len(names) < 1000 {
			names = append(names, w)
		}
		b.WriteString(w + " ")
	}
	return b.String(), names
}()

// numberOf reads a job's number back from its args, in whatever form the database returned them: "n" is the shortest key
// and so the first in a jsonb, too.
func numberOf(args []byte) (int64, error) {
	_, rest, found := bytes.Cut(args, []byte(`"n":`))
	if !found {
		return 0, fmt.Errorf("args without a number: %.60s", args)
	}
	rest = bytes.TrimLeft(rest, " ")
	end := bytes.IndexAny(rest, ",}")
	if end < 0 {
		return 0, fmt.Errorf("args cut short: %.60s", args)
	}
	return strconv.ParseInt(string(rest[:end]), 10, 64)
}

var endings = []string{"com", "org", "net", "eu", "de", "fr"}

// word makes one of some thirty thousand pronounceable words.
func word(random *rand.Rand) string {
	const vowels, consonants = "aeiou", "bcdfghklmnprstvwz"
	n := 1 + random.IntN(3)
	w := make([]byte, 0, 8)
	for range n {
		w = append(w, consonants[random.IntN(len(consonants))], vowels[random.IntN(len(vowels))])
	}
	if random.IntN(2) == 0 {
		w = append(w, consonants[random.IntN(len(consonants))])
	}
	return string(w)
}
