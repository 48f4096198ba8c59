#!/bin/sh
# Patroni calls this once, when it has made the first member: the server's user and its database.
# $1 is how to connect.
set -eu
psql "$1" --set=ON_ERROR_STOP=1 --set=password="$(cat "${DB_PASSWORD_FILE:-/run/secrets/db-password}")" <<'SQL'
CREATE ROLE txgear LOGIN PASSWORD :'password';
CREATE DATABASE txgear OWNER txgear;
SQL
