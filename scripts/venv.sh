#!/usr/bin/env bash
# Prints a folder whose `python3` has boto3 and whose `aws` is the AWS CLI: where both are installed already, theirs,
# otherwise a virtual environment under target/, made on the first call. Messages go to standard error.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

if command -v aws >/dev/null && aws --version >/dev/null 2>&1 && python3 -c 'import boto3' 2>/dev/null; then
    # Not `dirname $(command -v aws)`: a launcher's folder need not hold the right python3.
    python=$(python3 -c 'import sys; print(sys.executable)')
    if [[ -x $(dirname "$python")/aws && -x $(dirname "$python")/python3 ]]; then
        dirname "$python"
        exit
    fi
fi

venv=$root/target/venv
if ! [[ -x $venv/bin/aws && -f $venv/complete ]]; then
    echo "installing the AWS CLI and boto3 from PyPI into $venv" >&2
    rm -rf "$venv"
    python3 -m venv "$venv" >&2
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$root/scripts/requirements.txt" >&2
    touch "$venv/complete"
fi
echo "$venv/bin"
