#!/usr/bin/env bash
# The reference server (`langgraph dev`, in memory), in a virtual environment of its own.
#   reference.sh install                  installs the pinned versions once; prints them
#   reference.sh serve DIR PORT JOBS      serves DIR/langgraph.json in the foreground (it writes its state into DIR)
set -euo pipefail
pins=(langgraph-cli[inmem]==0.4.40 langgraph-api==0.16.7 langgraph==1.2.22 langgraph-sdk==0.4.14
      langgraph-checkpoint-sqlite==3.1.2)
home=${THREADMILL_REFERENCE_HOME:-${TMPDIR:-/tmp}/threadmill-reference}

case ${1:-} in
  install)
    if [ "$(cat "$home/installed" 2>/dev/null)" != "${pins[*]}" ]; then
      rm -rf "$home/.venv" "$home/installed"; mkdir -p "$home"
      "${PYTHON:-python3}" -m venv "$home/.venv" >&2
      "$home/.venv/bin/pip" install -q --disable-pip-version-check "${pins[@]}" >&2
      echo "${pins[*]}" > "$home/installed"
    fi
    echo "${pins[*]}" ;;
  serve)
    cd "${2:?directory}"
    export LANGSMITH_TRACING=false LANGGRAPH_CLI_NO_ANALYTICS=1
    exec "$home/.venv/bin/langgraph" dev --no-browser --no-reload --config langgraph.json --port "${3:?port}" \
      --n-jobs-per-worker "${4:?jobs}" --server-log-level WARNING ;;
  *) echo "usage: reference.sh install | serve DIR PORT JOBS" >&2; exit 2 ;;
esac
