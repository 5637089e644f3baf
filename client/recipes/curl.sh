#!/bin/sh
# One raw gRPC call with curl and protoc: opens a session and prints what comes back.
#   curl.sh [HOST:PORT]        needs curl with HTTP/2, protobuf-compiler
# A gRPC message is five bytes (0, then the length, big-endian) and the protobuf. The status comes
# in the trailers, which curl -D writes behind the headers.
set -eu
address=${1:-127.0.0.1:7733}
protos=$(CDPATH= cd -- "$(dirname -- "$0")/../../proto" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

echo 'model: "pendulum" rows: 2 seed: 7' |
    protoc -I "$protos" --encode=dreamd.v1.OpenSessionRequest dreamd/v1/simulation.proto > "$work/message"
size=$(wc -c < "$work/message")
{
    printf "\\000\\000\\000\\$(printf %03o $((size / 256)))\\$(printf %03o $((size % 256)))"
    cat "$work/message"
} > "$work/request"
curl --silent --show-error --fail --http2-prior-knowledge --max-time 30 \
    --header 'content-type: application/grpc' --header 'te: trailers' --header 'grpc-timeout: 10S' \
    --data-binary "@$work/request" --dump-header "$work/headers" --output "$work/reply" \
    "http://$address/dreamd.v1.Simulation/OpenSession"
tr -d '\r' < "$work/headers" | grep -i '^grpc-'
# An error has no message, only the trailers above.
[ -s "$work/reply" ] || exit 1
tail -c +6 "$work/reply" |
    protoc -I "$protos" --decode=dreamd.v1.OpenSessionResponse dreamd/v1/simulation.proto
