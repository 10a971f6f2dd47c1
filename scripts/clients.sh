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
folder=$(mktemp -d)
server=

finish() {
    local code=$?
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [[ $code != 0 ]]; then
        echo "clients: FAILED; the server said:" >&2
        cat "$folder/log" >&2 2>/dev/null || true
    fi
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT

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

# Nothing of the caller's own AWS configuration may leak in.
unset "${!AWS_@}"
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_CONFIG_FILE=$folder/none AWS_SHARED_CREDENTIALS_FILE=$folder/none AWS_EC2_METADATA_DISABLED=true
# The versions are pinned here; what comes after them is no concern of this run.
export AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED=true
export PYTHONDONTWRITEBYTECODE=1

"$esker" serve --host 127.0.0.1 --port 0 --data-dir "$folder/data" >"$folder/log" 2>&1 &
server=$!
endpoint=
for _ in $(seq 600); do
    # Only a complete line has the whole port in it.
    endpoint=$(sed -nE 's|.*(http://127\.0\.0\.1:[0-9]+).*|\1|p;' "$folder/log" | head -n 1)
    [[ -n $endpoint && $(wc -l <"$folder/log") -ge 1 ]] && break
    kill -0 "$server" || exit 1
    sleep 0.1
done
[[ -n $endpoint ]] || { echo "no address printed" >&2; exit 1; }
echo "server at $endpoint"
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

kill -TERM "$server"
wait "$server" || { server=; echo "clients: the server did not end well" >&2; exit 1; }
server=
echo "clients: all are served"
