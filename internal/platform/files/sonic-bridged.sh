# rackreach: SONiC routes on every port at first; those that are cabled are to bridge.
# Run twice, it changes nothing.
set -e
for port in{{range .Ports}} {{.Name}}{{end}}; do
	for keys in "INTERFACE|$port|*" "INTERFACE|$port"; do
		sonic-db-cli CONFIG_DB KEYS "$keys" | while read -r key; do
			sonic-db-cli CONFIG_DB DEL "$key"
		done
	done
done
