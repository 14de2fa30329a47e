#!/usr/bin/env bash
# A PostgreSQL server for tests, on a free port of this machine and with a directory of its own.
#
#   postgres.sh start DIR [PID]    starts it (a stopped one again, with what it holds) and prints its
#                                  URL; once the process PID is gone the server and DIR are removed
#   postgres.sh stop DIR [MODE]    stops it, as pg_ctl's MODE says: fast (default), or immediate
#                                  (a crash)
#   postgres.sh freeze DIR         lets it stand still, as a machine that swaps or a network that
#                                  loses everything; thaw lets it go on
#
# Where there is no PostgreSQL it installs Debian's, as root or with sudo. The server refuses to run as
# root; for root it runs as the user postgres or nobody, to whom DIR is then given.
set -euo pipefail

fail() { echo "postgres.sh: $*" >&2; exit 1; }

find_binaries() {
  local found
  found=$(ls -d /usr/lib/postgresql/*/bin 2>/dev/null | sort -V | tail -1)
  if [ -n "$found" ] && [ -x "$found/initdb" ]; then
    echo "$found"
  elif command -v initdb >/dev/null 2>&1 && command -v pg_ctl >/dev/null 2>&1; then
    dirname "$(command -v pg_ctl)"
  fi
}

install_server() {
  command -v apt-get >/dev/null 2>&1 || fail "there is no PostgreSQL here; install its server"
  local sudo=()
  if [ "$(id -u)" != 0 ]; then
    sudo -n true 2>/dev/null || fail "there is no PostgreSQL here; install the package postgresql"
    sudo=(sudo -n)
  fi
  "${sudo[@]}" apt-get update -qq >&2
  # Without a cluster of its own, which would be started.
  "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
    -o Dpkg::Options::=--force-confnew postgresql >&2
}

# Runs a command as the user whom the server runs as.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && exec setpriv --reuid="$user" --regid="$group" --clear-groups env HOME="$dir" "$@")
  else
    "$@"
  fi
}

free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])' 2>/dev/null ||
    echo $((20000 + RANDOM % 12000))
}

start() {
  local watched="${1:-}"
  if [ ! -d "$dir/data" ]; then
    mkdir -p "$dir"
    [ "$(id -u)" != 0 ] || chown "$user:$group" "$dir"
    as_server "$bin/initdb" --pgdata="$dir/data" --username=hansard --auth=trust --encoding=UTF8 \
      --locale=C >"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; fail "initdb failed"; }
    free_port >"$dir/port"
  fi
  local port
  port=$(cat "$dir/port")
  as_server "$bin/pg_ctl" --pgdata="$dir/data" --wait --timeout=60 --log="$dir/data/server.log" start -o \
    "-c listen_addresses=127.0.0.1 -p $port -k '$dir' -c max_connections=300 -c fsync=on" \
    >/dev/null </dev/null || { tail -50 "$dir/data/server.log" >&2; fail "the server did not start"; }
  if [ -n "$watched" ]; then
    (
      while kill -0 "$watched" 2>/dev/null && [ -d "$dir" ]; do sleep 0.5; done
      as_server "$bin/pg_ctl" --pgdata="$dir/data" --mode=immediate stop
      rm -rf "$dir"
    ) >/dev/null 2>&1 </dev/null &
  fi
  echo "postgres://hansard@127.0.0.1:$port/postgres"
}

# All processes of the server.
processes() {
  local server
  server=$(head -1 "$dir/data/postmaster.pid")
  echo "$server"
  cat "/proc/$server/task/$server/children"
}

stop() {
  as_server "$bin/pg_ctl" --pgdata="$dir/data" --wait --mode="${1:-fast}" stop >/dev/null ||
    fail "the server did not stop"
}

[ $# -ge 2 ] || fail "usage: postgres.sh start DIR [PID] | stop DIR [MODE] | freeze DIR | thaw DIR"
bin=$(find_binaries)
if [ -z "$bin" ]; then
  install_server
  bin=$(find_binaries)
  [ -n "$bin" ] || fail "the package postgresql brought no server"
fi
user=postgres
id -u "$user" >/dev/null 2>&1 || user=nobody
group=$(id -gn "$user")
command="$1"
dir="$2"
shift 2
case "$command" in
  start) start "$@" ;;
  stop) stop "$@" ;;
  # The one that starts the others first.
  freeze) kill -STOP "$(head -1 "$dir/data/postmaster.pid")"; kill -STOP $(processes) || true ;;
  thaw) kill -CONT $(processes) ;;
  *) fail "there is no command '$command'" ;;
esac
