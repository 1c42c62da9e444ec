package config

import (
	"fmt"
	"text/template"
	"text/template/parse"
)

// MaxSteps bounds what filling in a template does: passes of its loops, and beginnings of
// templates. A switch with a thousand ports and the 64 VLANs of a rack makes 65,000.
const MaxSteps = 1 << 18

// stepFunction is called at the beginning of each pass of a loop, and of each template.
const stepFunction = "rackreach_step"

// errSteps ends a template that would not end, or not soon: a loop that writes nothing is
// bounded by no bound of its output.
var errSteps = fmt.Errorf("it takes more than %d steps (passes of its loops)", MaxSteps)

// Steps makes a parsed template, and those that are associated with it, end with an error
// after MaxSteps, counted over everything that it does from here on. It is called once for
// a template, which is then filled in once.
func Steps(t *template.Template) error {
	left := MaxSteps
	t.Funcs(template.FuncMap{stepFunction: func() (string, error) {
		if left--; left < 0 {
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

// count puts a step at the beginning of a list, and of each loop in it.
func count(name string, list *parse.ListNode) error {
	if err := within(name, list); err != nil {
		return err
	}
	trees, err := parse.Parse(name, "{{"+stepFunction+"}}", "", "", map[string]any{stepFunction: 0})
	if err != nil {
		return fmt.Errorf("bound the steps of %s: %w", name, err)
	}
	list.Nodes = append([]parse.Node{trees[name].Root.Nodes[0]}, list.Nodes...)
	return nil
}

// within looks for loops.
func within(name string, list *parse.ListNode) error {
	if list == nil {
		return nil
	}
	for _, n := range list.Nodes {
		var err error
		switch n := n.(type) {
		case *parse.RangeNode:
			if err = count(name, n.List); err == nil {
				err = within(name, n.ElseList)
			}
		case *parse.IfNode:
			if err = within(name, n.List); err == nil {
				err = within(name, n.ElseList)
			}
		case *parse.WithNode:
			if err = within(name, n.List); err == nil {
				err = within(name, n.ElseList)
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}
