package config

import (
	"fmt"
	"maps"
	"reflect"
	"strings"
	"text/template"
)

// MaxMade bounds the text that the functions of a template make while it is filled in,
// in bytes, all of it together: a template that doubles a text in a variable would take all
// memory long before it writes anything.
const MaxMade = 16 << 20

// maxArguments bounds what one call of print and its like is given, and the verbs of a
// format.
const maxArguments = 256

// worstEscape is what one byte may become in html, js and urlquery ("<" is \u003C in js).
const worstEscape = 6

var errMade = fmt.Errorf("its functions make more than %d bytes of text", MaxMade)

// made is what the functions of a template may still make, in bytes.
type made struct{ left int }

// Bound makes a parsed template, and those that are associated with it, end with an error
// after MaxSteps and MaxMade, counted over everything that it does from here on. own are
// its functions besides those of text/template. It is called once for a template, which is
// then filled in once.
func Bound(t *template.Template, own template.FuncMap) error {
	m := &made{left: MaxMade}
	functions := template.FuncMap{
		"print":    m.spoken(1, fmt.Sprint),
		"println":  m.spoken(1, fmt.Sprintln),
		"html":     m.spoken(worstEscape, template.HTMLEscaper),
		"js":       m.spoken(worstEscape, template.JSEscaper),
		"urlquery": m.spoken(worstEscape, template.URLQueryEscaper),
		"printf":   m.printf,
	}
	maps.Copy(functions, own)
	for name, f := range own {
		functions[name] = m.counted(f)
	}
	t.Funcs(functions)
	return steps(t)
}

// take books so many bytes.
func (m *made) take(n int) error {
	if m.left -= n; m.left < 0 {
		return errMade
	}
	return nil
}

// lengths is how long the texts among arguments are, together and the longest, in bytes.
// Anything else is a value of the rack, which is bounded itself.
func lengths(a []any) (sum, longest int) {
	for _, x := range a {
		switch v := reflect.ValueOf(x); v.Kind() {
		case reflect.String:
			sum, longest = sum+v.Len(), max(longest, v.Len())
		case reflect.Slice, reflect.Array:
			if v.Type().Elem().Kind() == reflect.Uint8 {
				sum, longest = sum+4*v.Len(), max(longest, 4*v.Len()) // "255 "
			}
		}
	}
	return sum, longest
}

// spoken is a function that makes text of its arguments, at most times as long.
func (m *made) spoken(times int, f func(...any) string) func(...any) (string, error) {
	return func(a ...any) (string, error) {
		sum, _ := lengths(a)
		if len(a) > maxArguments {
			return "", fmt.Errorf("it is given %d arguments, at most %d are possible", len(a), maxArguments)
		}
		if times*sum > m.left {
			return "", errMade
		}
		s := f(a...)
		return s, m.take(len(s))
	}
}

// printf is fmt.Sprintf.
func (m *made) printf(format string, a ...any) (string, error) {
	verbs, widths, stars := verbsOf(format)
	if len(a) > maxArguments || verbs > maxArguments {
		return "", fmt.Errorf("its format has %d verbs, and %d arguments: at most %d are possible", verbs, len(a), maxArguments)
	}
	const widest = 1_000_000 // package fmt takes no width beyond it
	sum, longest := lengths(a)
	if len(format)+sum+verbs*longest+widths > m.left || stars > 0 && widest*stars > m.left {
		return "", errMade
	}
	s := fmt.Sprintf(format, a...)
	return s, m.take(len(s))
}

// verbsOf counts the verbs of a format, the numbers in them (widths, precisions), and
// those that are arguments ("*").
func verbsOf(format string) (verbs, widths, stars int) {
	for {
		_, after, found := strings.Cut(format, "%")
		if !found {
			return verbs, widths, stars
		}
		verbs++
		n := 0
		for format = after; format != "" && strings.ContainsRune("+-# 0123456789.[]*", rune(format[0])); format = format[1:] {
			switch c := format[0]; {
			case c >= '0' && c <= '9':
				n = min(10*n+int(c-'0'), MaxMade)
			default:
				widths, n = min(widths+n, 2*MaxMade), 0
				if c == '*' {
					stars++
				}
			}
		}
		widths = min(widths+n, 2*MaxMade)
		if format != "" {
			format = format[1:] // the verb, which may be a % itself
		}
	}
}

// counted is a function whose text is counted, if that is what it makes.
func (m *made) counted(f any) any {
	v := reflect.ValueOf(f)
	t := v.Type()
	if t.NumOut() == 0 || t.Out(0).Kind() != reflect.String {
		return f
	}
	var in []reflect.Type
	for i := range t.NumIn() {
		in = append(in, t.In(i))
	}
	failed := reflect.TypeFor[error]()
	call := v.Call
	if t.IsVariadic() {
		call = v.CallSlice
	}
	return reflect.MakeFunc(reflect.FuncOf(in, []reflect.Type{t.Out(0), failed}, t.IsVariadic()), func(a []reflect.Value) []reflect.Value {
		out := call(a)
		err := reflect.Zero(failed)
		if len(out) > 1 {
			err = out[1]
		}
		if no := m.take(out[0].Len()); no != nil && err.IsZero() {
			err = reflect.ValueOf(&no).Elem()
		}
		return []reflect.Value{out[0], err}
	}).Interface()
}
