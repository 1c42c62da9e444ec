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
{{- range .Ports}}
nv set interface {{.Name}} link state up
nv set interface {{.Name}} description {{.Network}}:{{.Peer}}
nv set interface {{.Name}} bridge domain br_default
{{- if or (eq .Network "data") (eq .Network "management")}}
nv set interface {{.Name}} bridge domain br_default stp admin-edge on
{{- end}}
{{- end}}
