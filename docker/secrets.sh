#!/bin/sh
# Make the passwords that compose.yaml names, once each; those that are there stay.
# Containers read them as users of their own, so the files are readable and their folder is not.
set -eu
folder="$(dirname "$0")/secrets"
mkdir -p "$folder"
chmod 700 "$folder"
for name in clickhouse_password grafana_password ledger_password provisioner_password redis_password; do
  if [ ! -s "$folder/$name" ]; then
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n' > "$folder/$name"
    chmod 644 "$folder/$name"
    echo "made $folder/$name"
  fi
done
