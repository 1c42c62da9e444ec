package rack

// Ask is how a switch is asked for its neighbours or its MAC table, once it is ready:
// over SSH, or by SNMP. Exactly one of Run and Community is set.
type Ask struct {
	Run    string `json:",omitzero"` // a command; its output is in Format
	Format string `json:",omitzero"` // by the words of package adjacency
	// Community is a reference to the community of SNMP version 2c.
	Community string `json:",omitzero"`
}
