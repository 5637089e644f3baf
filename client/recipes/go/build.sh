#!/bin/sh
# Builds the Go client from Debian's packages alone, without a module proxy:
#   apt install golang-go golang-google-grpc-dev \
#       golang-github-golang-protobuf-1-5-dev protoc-gen-go protoc-gen-go-grpc
# build.sh [PROGRAM]: where the program goes; ./dream by default.
set -eu
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd)
program=$(realpath -m "${1:-$here/dream}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# Debian's Go libraries are a GOPATH in /usr/share/gocode; ours stands before it.
source="$work/src/dream"
mkdir -p "$source"
cp "$here/main.go" "$source"
mapping="dreamd/v1/simulation.proto=dream/dreamdv1,dreamd/v1/tensor.proto=dream/dreamdv1"
options="M$(echo "$mapping" | sed 's/,/,M/g')"
protoc -I "$here/../../../proto" --go_out="$options:$work/src" --go-grpc_out="$options:$work/src" \
    dreamd/v1/simulation.proto dreamd/v1/tensor.proto
GO111MODULE=off GOPATH="$work:/usr/share/gocode" GOFLAGS=-mod= GOCACHE="${GOCACHE:-$work/cache}" \
    go build -o "$program" dream
