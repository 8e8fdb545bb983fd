#!/usr/bin/env bash
# Makes an authority and the certificates that services.yaml wants, good for a year, unless they are there:
#
#   certificates.sh [FOLDER]    FOLDER is certificates, beside this file, unless given
#
# internode is of Temporal's services among themselves, frontend of the frontend towards its clients, client of a client.
set -euo pipefail

folder=${1:-$(dirname "${BASH_SOURCE[0]}")/certificates}
mkdir -p "$folder"
cd "$folder"
if [[ -e client.pem ]]; then exit 0; fi

key=(-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes)
openssl req "${key[@]}" -x509 -days 365 -subj /CN=temporal-authority -keyout ca.key -out ca.pem 2>/dev/null
certificate() { # certificate NAME SUBJECT_ALTERNATIVE_NAMES
  openssl req "${key[@]}" -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
  openssl x509 -req -in "$1.csr" -CA ca.pem -CAkey ca.key -CAcreateserial -days 365 -extfile <(echo "subjectAltName=$2") -out "$1.pem" 2>/dev/null
  rm "$1.csr"
  chmod 644 "$1.key" # containers have users of their own
}
certificate internode DNS:internode
certificate frontend DNS:temporal,DNS:localhost,IP:127.0.0.1
certificate client DNS:client
