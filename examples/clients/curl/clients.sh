#!/bin/sh
# Logs in, uses the token, verifies it as a service does, and releases it. Needs curl.
# Secrets come to curl on its standard input, for the arguments of a program can be seen by everybody on the machine.
set -eu

# As JSON has it: backslashes and quotes are escaped.
text() { printf '%s' "$1" | sed 's/[\\"]/\\&/g'; }
ask() { curl --silent --show-error --max-time 5 --config - "$@"; }
# A line of the configuration that curl reads.
option() { printf '%s = "%s"\n' "$1" "$(text "$2")"; }

login="{\"organisation\":\"$(text "$DOORWARD_ORGANISATION")\",\"username\":\"$(text "$DOORWARD_USERNAME")\",\"password\":\"$(text "$DOORWARD_PASSWORD")\"}"
token=$(option data "$login" | ask --fail "$DOORWARD_URL/authentication/token" | grep -o '[0-9A-F]\{32\}')

# Any guarded API takes the token in this header; Doorward's own tells whose it is.
option header "Authorization: Bearer $token" |
  ask --output /dev/null --write-out 'used: %{http_code}\n' "$DOORWARD_URL/authentication/token"

# An outage says nothing about a token: --fail makes it end the script.
verify() {
  { option user "$DOORWARD_KEY:"; option data "token=$token"; } | ask --fail "$DOORWARD_URL/oauth2/introspect"
}
case $(verify) in
  '{"active":true,'*) echo active ;;
esac

option data "{\"token\":\"$token\"}" | ask --fail --output /dev/null "$DOORWARD_URL/authentication/token/release"
case $(verify) in
  '{"active":false}') echo released ;;
esac
