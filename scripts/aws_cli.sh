#!/usr/bin/env bash
# The employee directory through the unmodified AWS CLI, every answer checked; then the line that the server prints
# and the commands of the README, as they are.
#
#     scripts/aws_cli.sh [path of the esker binary]      (default: target/release/esker)
#
# Starts a server of its own on a free port with a temporary data directory, and ends it by its pid.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
esker=${1:-$root/target/release/esker}
tools=$("$root/scripts/venv.sh")
script=aws_cli

source "$root/scripts/served.sh"
export AWS_PAGER= AWS_MAX_ATTEMPTS=1

aws() { "$tools/aws" --endpoint-url "$endpoint" --output json dynamodb "$@"; }

# expect WHAT EXPRESSION: the JSON on standard input, as `answer`, must make the Python expression true.
expect() {
    local json
    json=$(cat)
    if ! JSON=$json python3 -c '
import json, os, sys
answer = json.loads(os.environ["JSON"] or "null")
sys.exit(0 if eval(sys.argv[1]) else 1)' "$2"; then
        echo "aws_cli: $1: expected $2, got: $json" >&2
        exit 1
    fi
    echo "ok: $1"
}

# refused WHAT CODE COMMAND...: the call must fail with this error code.
refused() {
    local what=$1 code=$2 said
    shift 2
    if said=$(aws "$@" 2>&1); then
        echo "aws_cli: $what: expected $code, but it succeeded: $said" >&2
        exit 1
    fi
    [[ $said == *"($code)"* ]] || { echo "aws_cli: $what: expected $code: $said" >&2; exit 1; }
    echo "ok: $what"
}

ada='{"department": {"S": "engines"}, "id": {"N": "1"}, "name": {"S": "Ada"}, "badge": {"S": "A-0001"}}'
grace='{"department": {"S": "engines"}, "id": {"N": "2"}, "name": {"S": "Grace"},
    "phones": {"L": [{"S": "555-0100"}, {"S": "555-0101"}]}}'
ada_key='{"department": {"S": "engines"}, "id": {"N": "1"}}'

aws create-table --table-name Employees --billing-mode PAY_PER_REQUEST \
    --attribute-definitions AttributeName=department,AttributeType=S AttributeName=id,AttributeType=N \
    --key-schema AttributeName=department,KeyType=HASH AttributeName=id,KeyType=RANGE |
    expect "create-table" 'answer["TableDescription"]["TableName"] == "Employees"'
aws wait table-exists --table-name Employees
aws describe-table --table-name Employees |
    expect "describe-table" 'answer["Table"]["TableStatus"] == "ACTIVE"'
aws list-tables | expect "list-tables" 'answer["TableNames"] == ["Employees"]'

aws put-item --table-name Employees --item "$ada" | expect "put-item with a badge" 'not answer'
aws put-item --table-name Employees --item "$grace" | expect "put-item without one" 'not answer'
aws get-item --table-name Employees --key "$ada_key" --consistent-read |
    expect "get-item" "answer['Item'] == $ada"
aws get-item --table-name Employees --key '{"department": {"S": "engines"}, "id": {"N": "3"}}' |
    expect "get-item of nobody" 'not answer'

aws query --table-name Employees --key-condition-expression 'department = :d' \
    --expression-attribute-values '{":d": {"S": "engines"}}' |
    expect "query" "answer['Count'] == 2 and answer['Items'] == [$ada, $grace]"
aws query --table-name Employees --key-condition-expression 'department = :d AND id > :i' \
    --expression-attribute-values '{":d": {"S": "engines"}, ":i": {"N": "1"}}' --no-scan-index-forward |
    expect "query with a sort key" "answer['Items'] == [$grace]"
aws scan --table-name Employees |
    expect "scan" "sorted(item['name']['S'] for item in answer['Items']) == ['Ada', 'Grace']"
aws scan --table-name Employees --page-size 1 | expect "scan in pages" 'len(answer["Items"]) == 2'
aws batch-get-item --request-items "{\"Employees\": {\"Keys\": [$ada_key]}}" |
    expect "batch-get-item" "answer['Responses']['Employees'] == [$ada]"

refused "a key without its sort part" ValidationException \
    get-item --table-name Employees --key '{"department": {"S": "engines"}}'
refused "a missing table" ResourceNotFoundException \
    get-item --table-name Nowhere --key "$ada_key"
refused "a table that exists" ResourceInUseException \
    create-table --table-name Employees --billing-mode PAY_PER_REQUEST \
    --attribute-definitions AttributeName=id,AttributeType=N --key-schema AttributeName=id,KeyType=HASH

aws delete-item --table-name Employees --key "$ada_key" --return-values ALL_OLD |
    expect "delete-item" "answer['Attributes'] == $ada"
aws scan --table-name Employees | expect "scan after it" "answer['Items'] == [$grace]"
aws delete-table --table-name Employees |
    expect "delete-table" 'answer["TableDescription"]["TableName"] == "Employees"'
aws wait table-not-exists --table-name Employees
aws list-tables | expect "list-tables after it" 'answer["TableNames"] == []'

# What people copy must work as it is, without what this script exported.
copied() { (unset AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_REGION AWS_DEFAULT_REGION; PATH=$tools:$PATH bash -euo pipefail -c "$1"); }

printed=$(sed -nE 's/^ +try +//p' "$folder/log")
[[ -n $printed ]] || { echo "aws_cli: the server printed no line to try" >&2; exit 1; }
copied "$printed" | expect "the line that the server prints" 'answer["TableNames"] == []'

# Only the port is another: the README's server has its default.
block=$(awk '/^\*\*Serve\*\*/ { found = 1 } found && /^```/ { if (inside) exit; inside = 1; next } inside' "$root/README.md")
[[ $block == *create-table* && $block == *scan* ]] || { echo "aws_cli: no Serve block in the README" >&2; exit 1; }
copied "${block//http:\/\/127.0.0.1:8000/$endpoint}" >"$folder/readme" ||
    { echo "aws_cli: the README's Serve block failed" >&2; exit 1; }
grep -q '"Grace"' "$folder/readme" || { echo "aws_cli: the README's scan found nothing" >&2; exit 1; }
aws scan --table-name employees |
    expect "the README's Serve block" 'sorted(item["name"]["S"] for item in answer["Items"]) == ["Ada", "Grace"]'
echo "aws_cli: the AWS CLI is served"
