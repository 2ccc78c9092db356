#!/bin/sh
# Makes the database at the first start, from the variables that the real image reads.
set -eu
user=${POSTGRES_USER:-postgres}
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ -z "${POSTGRES_PASSWORD:-}" ]; then
        echo "Error: POSTGRES_PASSWORD is not set." >&2
        exit 1
    fi
    # A pipe, so that the password is in no file and no command line.
    printf '%s\n' "$POSTGRES_PASSWORD" |
        initdb --username="$user" --pwfile=/dev/stdin --auth-host=scram-sha-256 --auth-local=trust
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
    pg_ctl --wait --options="-c listen_addresses='' -c unix_socket_directories=/tmp" start
    if [ "${POSTGRES_DB:-$user}" != postgres ]; then
        createdb --host=/tmp --username="$user" "${POSTGRES_DB:-$user}"
    fi
    pg_ctl --wait --mode=fast stop
fi
exec "$@" -c listen_addresses='*'
