#!/bin/sh
# Runs one of Patroni's members, which is called as its container is.
set -eu
PATRONI_NAME=$(hostname)
PATRONI_SUPERUSER_PASSWORD=$(cat /run/secrets/db-admin-password)
PATRONI_REPLICATION_PASSWORD=$PATRONI_SUPERUSER_PASSWORD
export PATRONI_NAME PATRONI_SUPERUSER_PASSWORD PATRONI_REPLICATION_PASSWORD
export PATRONI_POSTGRESQL_CONNECT_ADDRESS="$PATRONI_NAME:5432"
export PATRONI_RESTAPI_CONNECT_ADDRESS="$PATRONI_NAME:8008"
exec /opt/patroni/bin/patroni /etc/patroni.yaml
