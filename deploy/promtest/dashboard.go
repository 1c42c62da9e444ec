package promtest

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// Query is a query of a dashboard.
type Query struct {
	Panel string // its title; of a variable: "variable NAME"
	Expr  string // with the variables replaced
}

// panel is what we read of a panel. Rows hold panels when they are folded.
type panel struct {
	Title   string  `json:"title"`
	Type    string  `json:"type"`
	Panels  []panel `json:"panels"`
	Targets []struct {
		Expr string `json:"expr"`
	} `json:"targets"`
}

var (
	variable    = regexp.MustCompile(`\$\{(\w+)(:\w+)?\}|\$(\w+)`)
	labelValues = regexp.MustCompile(`^label_values\((.+),\s*\w+\)$`)
)

// DashboardQueries are all queries of a Grafana dashboard, those of its variables
// included. vars are the values of its variables and of Grafana's own
// ("__rate_interval"). Errors: a file that is no dashboard, a panel without a
// query, a variable that has no value here.
func DashboardQueries(path string, vars map[string]string) ([]Query, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var d struct {
		Panels     []panel `json:"panels"`
		Templating struct {
			List []struct {
				Name, Type, Definition string
			} `json:"list"`
		} `json:"templating"`
	}
	if err := json.Unmarshal(text, &d); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	var out []Query
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			return nil, fmt.Errorf("%s: variable %s: its definition is %q, not label_values(SERIES, LABEL)", path, v.Name, v.Definition)
		}
		out = append(out, Query{"variable " + v.Name, m[1]})
	}
	if err := collect(&out, d.Panels); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range out {
		if out[i].Expr, err = substitute(out[i].Expr, vars); err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, out[i].Panel, err)
		}
	}
	return out, nil
}

// collect appends the queries of panels.
func collect(out *[]Query, panels []panel) error {
	for _, p := range panels {
		if err := collect(out, p.Panels); err != nil {
			return err
		}
		if p.Type == "row" || p.Type == "text" {
			continue
		}
		if len(p.Targets) == 0 {
			return fmt.Errorf("panel %q has no query", p.Title)
		}
		for _, t := range p.Targets {
			if strings.TrimSpace(t.Expr) == "" {
				return fmt.Errorf("panel %q has an empty query", p.Title)
			}
			*out = append(*out, Query{p.Title, t.Expr})
		}
	}
	return nil
}

// substitute replaces the variables of an expression.
func substitute(expr string, vars map[string]string) (string, error) {
	var missing error
	s := variable.ReplaceAllStringFunc(expr, func(found string) string {
		m := variable.FindStringSubmatch(found)
		name := m[1] + m[3]
		v, ok := vars[name]
		if !ok {
			missing = fmt.Errorf("$%s has no value", name)
		}
		return v
	})
	return s, missing
}
