#!/usr/bin/env bash
# A day's work of unmodified clients against the server, every answer checked: boto3, PynamoDB, the AWS SDK for
# JavaScript v3 and ElectroDB.
#
#     scripts/clients.sh [path of the esker binary]      (default: target/release/esker)
#
# Installs them from PyPI and npm, at the versions that scripts/clients names, into target/clients. Starts a server of its
# own on a free port of 127.0.0.1 with a temporary data directory, and ends it by its pid.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
esker=$(realpath "${1:-$target/release/esker}")
clients=$root/scripts/clients
tools=$target/clients
script=clients

# What is installed is for exactly these files; anything else is installed anew.
wanted=$(cat "$clients/requirements.txt" "$clients/package-lock.json")
if [[ ! -f $tools/complete || $(cat "$tools/complete") != "$wanted" ]]; then
    echo "installing the clients from PyPI and npm into $tools"
    rm -rf "$tools"
    mkdir -p "$tools"
    python3 -m venv "$tools/venv"
    "$tools/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps -r "$clients/requirements.txt"
    cp "$clients/package.json" "$clients/package-lock.json" "$tools"
    (cd "$tools" && npm ci --no-audit --no-fund --ignore-scripts --loglevel=error)
    printf '%s\n' "$wanted" >"$tools/complete"
fi
# Node looks for packages beside the program and in the folders above it.
cp "$clients"/*.mjs "$tools"

source "$root/scripts/served.sh"
# The versions are pinned here; what comes after them is no concern of this run.
export AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true
export PYTHONDONTWRITEBYTECODE=1
export ESKER_ENDPOINT=$endpoint

# day NAME COMMAND...: one client; it must not hang either.
day() {
    local name=$1 since=$SECONDS
    shift
    timeout 120 "$@" || { echo "clients: $name failed" >&2; exit 1; }
    echo "ok: $name, $((SECONDS - since)) s"
}

day "boto3" "$tools/venv/bin/python3" "$clients/boto3_client.py"
day "PynamoDB" "$tools/venv/bin/python3" "$clients/pynamodb_models.py"
day "AWS SDK for JavaScript v3" node "$tools/sdk.mjs"
day "ElectroDB" node "$tools/electrodb.mjs"

end_server
echo "clients: all are served"
