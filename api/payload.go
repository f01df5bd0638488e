package api

import (
	"bytes"
	"strconv"
	"unicode/utf16"

	"github.com/go-json-experiment/json/jsontext"
)

// Bounds of a payload, as PostgreSQL would write it out. weir.size_problem has the same.
const (
	maxPayload = 1 << 20
	maxNumber  = 1003 // 1000 digits, a sign and 0.
	maxLevels  = 100  // of objects and arrays in each other
)

// payload moves behind a value that the schema leaves open, which is inside `outer` objects that are open too. PostgreSQL must be able to store
// it, and to write it out within the bounds: a number such as 1e999, which is a few bytes here, has a thousand digits there.
func (b *bodyTree) payload(outer int) {
	text, start, added := b.text, b.at, 0
	unfit, large := "", ""
	at, level := start, outer
walk:
	for at < len(text) {
		switch text[at] {
		case '"':
			end, hasEscapes := behindString(text, at)
			if hasEscapes && unfit == "" {
				unfit = escapeProblem(text[at:end])
			}
			at = end
		case '{', '[':
			level++
			if level > maxLevels {
				large = "must be nested at most 100 levels deep"
			}
			at++
		case '}', ']':
			level--
			at++
		case ' ', '\t', '\r', '\n', ',', ':':
			at++
		default:
			end := behindScalar(text, at)
			size := numberSize(text[at:end])
			added += max(0, size-(end-at))
			if size > maxNumber && isOdd(text[at:end]) && large == "" {
				large = "must not have a number that takes more than 1000 digits to write out"
			}
			at = end
		}
		if level == outer {
			break walk
		}
	}
	b.at = at
	if unfit == "" && large == "" && at-start+added > maxPayload && compactSize(text[start:at])+added > maxPayload {
		large = "must be at most 1 MiB, with its numbers written out in full"
	}
	switch {
	case unfit != "" && b.cleaned == 0:
		b.found(bodyProblem{ProblemError: ProblemError{Message: unfit}, ofPayload: true})
	case large != "":
		b.found(bodyProblem{ProblemError: ProblemError{Message: large}, ofPayload: true, tooLarge: true})
	}
}

// compactSize is the size of a value without spaces and needless escapes, which is how PostgreSQL measures it.
func compactSize(text []byte) int {
	compact := jsontext.Value(bytes.Clone(text))
	if compact.Format(jsonOptions) != nil {
		return len(text)
	}
	return len(compact)
}

// behindScalar is the end of the number, true, false or null that begins at a place in a text.
func behindScalar(text []byte, at int) int {
	for at < len(text) {
		switch text[at] {
		case ',', '}', ']', ' ', '\t', '\r', '\n':
			return at
		}
		at++
	}
	return at
}

// numberSize is the number of bytes in which PostgreSQL writes a number; for true, false and null their own.
func numberSize(token []byte) int {
	e := bytes.IndexAny(token, "eE")
	if c := token[0]; e < 0 || c != '-' && (c < '0' || c > '9') {
		return len(token)
	}
	exponent, err := strconv.Atoi(string(token[e+1:]))
	if err != nil || exponent > 99_999 || exponent < -99_999 {
		return 100_000 // PostgreSQL may not even read it
	}
	digits, sign := token[:e], 0
	if digits[0] == '-' {
		digits, sign = digits[1:], 1
	}
	whole, fraction, _ := bytes.Cut(digits, []byte("."))
	before := len(whole) + exponent // digits before the point
	if whole[0] == '0' {
		zeros := len(fraction) - len(bytes.TrimLeft(fraction, "0"))
		before = exponent - zeros
		if zeros == len(fraction) {
			before = 1 // it is zero
		}
	}
	size := sign + max(1, before)
	if after := len(fraction) - exponent; after > 0 {
		size += 1 + after
	}
	return size
}

// isOdd says the same of a number as weir.has_odd_number: only such a number counts as too long.
func isOdd(token []byte) bool {
	f, _ := strconv.ParseFloat(string(token), 64) // infinite, or zero, where it is out of range
	return f < 1e-20 || f > 1e30
}

// escapeProblem says which escape of a string PostgreSQL cannot store.
func escapeProblem(token []byte) string {
	for i := 0; i+1 < len(token); i++ {
		if token[i] != '\\' {
			continue
		}
		i++
		if token[i] != 'u' {
			continue
		}
		switch r := escaped(token[i-1:]); {
		case r == 0:
			return `has the character \u0000, which cannot be stored`
		case utf16.IsSurrogate(r):
			if low := escaped(token[i+5:]); utf16.DecodeRune(r, low) == '\uFFFD' {
				return "has half of a surrogate pair"
			}
			i += 10
			continue
		}
		i += 4
	}
	return ""
}

// escaped is the character of the escape \uXXXX that a text begins with, or -1.
func escaped(text []byte) rune {
	if len(text) < 6 || text[0] != '\\' || text[1] != 'u' {
		return -1
	}
	n, err := strconv.ParseUint(string(text[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(n)
}
