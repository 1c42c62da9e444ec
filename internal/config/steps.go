package config

import (
	"fmt"
	"text/template"
	"text/template/parse"
)

// MaxSteps bounds what filling in a template does: passes of its loops, and beginnings of
// templates; half a KiB of them at a time. A switch with a thousand ports and the 64 VLANs of a rack makes 65,000.
const MaxSteps = 1 << 18

// stepFunction is called with a number of steps at the beginning of each pass of a loop, and of each template.
const stepFunction = "rackreach_step"

// errSteps ends a template that would not end, or not soon: a loop that writes nothing is
// bounded by no bound of its output.
var errSteps = fmt.Errorf("it takes more than %d steps (passes of its loops)", MaxSteps)

// perStep is how much of a template counts as one step, in bytes: a pass through more of
// it counts as several.
const perStep = 512

// steps makes a parsed template, and those that are associated with it, end with an error
// after MaxSteps.
func steps(t *template.Template) error {
	left := MaxSteps
	t.Funcs(template.FuncMap{stepFunction: func(n int) (string, error) {
		if left -= n; left < 0 {
			return "", errSteps
		}
		return "", nil
	}})
	for _, of := range t.Templates() {
		if of.Tree == nil || of.Root == nil {
			continue
		}
		if err := count(of.Name(), of.Root); err != nil {
			return err
		}
	}
	return nil
}

// count puts steps at the beginning of a list, and of each loop in it.
func count(name string, list *parse.ListNode) error {
	size, err := within(name, list)
	if err != nil {
		return err
	}
	trees, err := parse.Parse(name, fmt.Sprintf("{{%s %d}}", stepFunction, 1+size/perStep), "", "", map[string]any{stepFunction: 0})
	if err != nil {
		return fmt.Errorf("bound the steps of %s: %w", name, err)
	}
	list.Nodes = append([]parse.Node{trees[name].Root.Nodes[0]}, list.Nodes...)
	return nil
}

// within looks for loops, and returns how long a list is without their insides, in bytes.
func within(name string, list *parse.ListNode) (size int, err error) {
	if list == nil {
		return 0, nil
	}
	both := func(b *parse.BranchNode, first func(string, *parse.ListNode) (int, error)) error {
		n, err := first(name, b.List)
		if err != nil {
			return err
		}
		m, err := within(name, b.ElseList)
		size += len(b.Pipe.String()) + n + m
		return err
	}
	for _, n := range list.Nodes {
		switch n := n.(type) {
		case *parse.RangeNode:
			err = both(&n.BranchNode, func(name string, l *parse.ListNode) (int, error) { return 0, count(name, l) })
		case *parse.IfNode:
			err = both(&n.BranchNode, within)
		case *parse.WithNode:
			err = both(&n.BranchNode, within)
		default:
			size += len(n.String())
		}
		if err != nil {
			return 0, err
		}
	}
	return size, nil
}
