# rackreach: {{.Rack}}/{{.Device}}, {{.Role}}. Run twice, it changes nothing.
set -e
nv set system hostname {{.Device}}
nv set interface eth0 ip address {{.Address}}/{{.Bits}}
{{- if .Router}}
nv set interface eth0 ip gateway {{.Router}}
{{- end}}
{{- range .NTP}}
nv set service ntp mgmt server {{.}}
{{- end}}
{{- range .DNS}}
nv set service dns mgmt server {{.}}
{{- end}}
{{- if .Syslog}}
nv set service syslog mgmt server {{.Syslog}}
{{- end}}
nv set service lldp
{{- if .VLANs}}
nv set bridge domain br_default vlan {{range $i, $v := .VLANs}}{{if $i}},{{end}}{{$v.ID}}{{end}}
{{- end}}
# Which port leads to the management switch nobody says: all of them are in the bridge.
for port in /sys/class/net/swp*; do
	nv set interface "${port##*/}" bridge domain br_default{{if .VLAN}} untagged {{.VLAN}}{{end}}
	nv set interface "${port##*/}" link state up
done
{{- range .Ports}}
nv set interface {{.Name}} description {{.Network}}:{{.Peer}}
{{- if and .Untagged (not .Tagged)}}
nv set interface {{.Name}} bridge domain br_default access {{.Untagged}}
{{- else if .Tagged}}
nv set interface {{.Name}} bridge domain br_default untagged {{or .Untagged "none"}}
nv set interface {{.Name}} bridge domain br_default vlan {{if .Untagged}}{{.Untagged}},{{end}}{{range $i, $v := .Tagged}}{{if $i}},{{end}}{{$v}}{{end}}
{{- end}}
{{- if or (eq .Network "data") (eq .Network "management")}}
nv set interface {{.Name}} bridge domain br_default stp admin-edge on
{{- end}}
{{- end}}
