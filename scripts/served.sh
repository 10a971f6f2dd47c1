# Sourced by scripts that drive unmodified clients: a server on a free port of 127.0.0.1 with a temporary data directory,
# ended by its pid when the script ends, and an environment of its own for the clients.
#
# Before: `script`, what the script calls itself, and `esker`, the binary. After: `folder`, for temporary files, `endpoint`,
# and `end_server`, which fails where the server does not end well.
folder=$(mktemp -d)
server=

finish() {
    local code=$?
    if [[ -n $server ]]; then
        kill "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    if [[ $code != 0 ]]; then
        echo "$script: FAILED; the server said:" >&2
        cat "$folder/log" >&2 2>/dev/null || true
    fi
    rm -rf "$folder"
    exit "$code"
}
trap finish EXIT

end_server() {
    kill -TERM "$server"
    wait "$server" || { server=; echo "$script: the server did not end well" >&2; exit 1; }
    server=
}

# Nothing of the caller's own AWS configuration may leak in.
unset "${!AWS_@}"
export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_REGION=us-east-1 AWS_DEFAULT_REGION=us-east-1
export AWS_CONFIG_FILE=$folder/none AWS_SHARED_CREDENTIALS_FILE=$folder/none AWS_EC2_METADATA_DISABLED=true

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
