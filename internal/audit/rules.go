package audit

import (
	"fmt"
	"slices"
)

// The rules of Prove. Their numbers are what Violation.Rule says; they do not
// change, since people will search for them.
const (
	ruleSequence = iota + 1
	ruleNames
	ruleBegin
	ruleTime
	rulePhases
	ruleAttempts
	ruleSteps
	ruleEvidence
	ruleActions
	ruleGates
	ruleLinkReady
	ruleLinkOpen
	ruleTickets
	ruleSwitchesFirst
	ruleReady
	ruleCompleted
	ruleQuiet
	ruleWholePhase
)

// ruleTexts are the rules in plain words, by number less one.
var ruleTexts = []string{
	ruleSequence - 1:      "the events are numbered from 1 without a gap",
	ruleNames - 1:         "every event is of this rack and of a device in its rack file",
	ruleBegin - 1:         "nothing comes before rack-started but refused orders, and a rack starts once",
	ruleTime - 1:          "times never go back",
	rulePhases - 1:        "a device goes through discovery, installation, configuration and is then ready, unless an operator orders otherwise",
	ruleAttempts - 1:      "the attempts of a step are counted up by one",
	ruleSteps - 1:         "the steps of a phase are done in the order of the platform, one at a time",
	ruleEvidence - 1:      "a step that waits is completed only on fresh evidence from the device",
	ruleActions - 1:       "an action is completed only after it was started",
	ruleGates - 1:         "a step starts only when the gates that it needs hold",
	ruleLinkReady - 1:     "a link is ready only after every switch on its route is ready",
	ruleLinkOpen - 1:      "a link opens only when it is ready and something was observed through it",
	ruleTickets - 1:       "a ticket is issued only in an installation, one at a time for a device, and none while the rack drains or is halted",
	ruleSwitchesFirst - 1: "no server is powered, booted or ticketed before all switches are ready",
	ruleReady - 1:         "a device is ready only after its last phase was completed",
	ruleCompleted - 1:     "a rack is completed only when every device is ready, skipped, or a failed server",
	ruleQuiet - 1:         "a halted rack does nothing until it is resumed",
	ruleWholePhase - 1:    "a phase is completed only after all of its steps",
}

// Rules lists what Prove holds, in plain words; the rule of number n stands at
// n-1. The slice is the caller's.
func Rules() []string { return slices.Clone(ruleTexts) }

// Violation is the first event of a journal that breaks a rule.
type Violation struct {
	Rule   int    // its number in Rules, from 1
	Seq    uint64 // the event's sequence in the journal; 0: the journal as a whole
	Device string // empty: the rack
	What   string // what is wrong, for people
}

// Error is one line for people: the event, the device, what is wrong, the rule.
func (v *Violation) Error() string {
	where := fmt.Sprintf("event %d", v.Seq)
	if v.Seq == 0 {
		where = "the journal"
	}
	if v.Device != "" {
		where += ", " + v.Device
	}
	return fmt.Sprintf("%s: %s (rule %d: %s)", where, v.What, v.Rule, ruleTexts[v.Rule-1])
}
