#!/bin/sh
# Runs at each start of each replica, and does nothing where the account is there.
set -eu
hash="$(printf %s "$(cat /run/secrets/provisioner_password)" | sha256sum | cut -d' ' -f1)"
{
  echo "CREATE USER IF NOT EXISTS provisioner IDENTIFIED WITH sha256_hash BY '$hash';"
  cat /etc/clickhouse-scim/provisioner.sql
} | clickhouse-client --multiquery --password "$(cat /run/secrets/clickhouse_password)"
