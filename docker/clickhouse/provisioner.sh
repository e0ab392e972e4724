#!/bin/sh
# Runs at the first start of each replica; whoever comes second finds the account there.
set -eu
hash="$(printf %s "$(cat /run/secrets/provisioner_password)" | sha256sum | cut -d' ' -f1)"
{
  echo "CREATE USER IF NOT EXISTS provisioner IDENTIFIED WITH sha256_hash BY '$hash';"
  cat /etc/clickhouse-scim/provisioner.sql
} | clickhouse-client --multiquery --password "$(cat /run/secrets/clickhouse_password)"
