package queue

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"strconv"
)

// Job is what every system is given to enqueue: a number, counted from 1, and args of JSON that begin with it.
type Job struct {
	Number int64
	Args   []byte
}

// MakeJob returns job `number` with args of about size bytes, at least 100. The same number always gives the same args, no
// two numbers give alike ones, and they look like what applications send: names, addresses, amounts, prose.
func MakeJob(number int64, size int) Job {
	random := rand.New(rand.NewPCG(uint64(number), 0x77656972))
	b := make([]byte, 0, size+32)
	b = fmt.Appendf(b, `{"n": %d, "order": "%08x%08x", "email": "%s.%s%d@example.%s", "cents": %d, "text": "`, number,
		random.Uint32(), random.Uint32(), word(random), word(random), random.IntN(10000), endings[random.IntN(len(endings))], random.IntN(1000000))
	for len(b) < size-2 {
		b = append(b, word(random)...)
		b = append(b, ' ')
	}
	b = append(bytes.TrimRight(b, " "), `"}`...)
	return Job{Number: number, Args: b}
}

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
