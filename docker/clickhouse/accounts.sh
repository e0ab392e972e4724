#!/bin/sh
# Runs at each start of each replica, and does nothing where the accounts are there.
set -eu
hash_of() {
  printf %s "$(cat "/run/secrets/$1")" | sha256sum | cut -d' ' -f1
}
{
  echo "CREATE USER IF NOT EXISTS provisioner IDENTIFIED WITH sha256_hash BY '$(hash_of provisioner_password)';"
  cat /etc/clickhouse-scim/provisioner.sql
  echo "CREATE USER IF NOT EXISTS ledger IDENTIFIED WITH sha256_hash BY '$(hash_of ledger_password)';"
  cat /etc/clickhouse-scim/ledger.sql
} | clickhouse-client --multiquery --password "$(cat /run/secrets/clickhouse_password)"
