#!/bin/sh
# Installs the Debian packages that a purpose needs and that are missing: build, test, lint,
# fuzz, fresh, ecosystem. Says nothing where nothing is missing. Uses sudo where it is not root.
set -eu

packages_build="gcc libc6-dev make git pkg-config protobuf-compiler libprotobuf-dev protobuf-c-compiler
 libprotobuf-c-dev libuv1-dev libwebsockets-dev libwebsockets-evlib-uv libnghttp2-dev zlib1g-dev libsqlite3-dev libjansson-dev
 libssl-dev libinih-dev libopenblas-dev"
packages_test="libcriterion-dev python3 python3-venv procps curl groff-base"
packages_lint="clang-format python3 python3-venv"
packages_fuzz="clang libclang-rt-14-dev"
packages_fresh="mmdebstrap"
packages_ecosystem="golang-go golang-google-grpc-dev golang-github-golang-protobuf-1-5-dev protoc-gen-go protoc-gen-go-grpc"

wanted=""
for purpose in "$@"; do
    case "$purpose" in
        build) wanted="$wanted $packages_build" ;;
        test) wanted="$wanted $packages_test" ;;
        lint) wanted="$wanted $packages_lint" ;;
        fuzz) wanted="$wanted $packages_fuzz" ;;
        fresh) wanted="$wanted $packages_fresh" ;;
        ecosystem) wanted="$wanted $packages_ecosystem" ;;
        *) echo "$0: purpose is \"$purpose\", expected build, test, lint, fuzz, fresh or ecosystem" >&2; exit 2 ;;
    esac
done

if ! command -v dpkg-query > /dev/null; then
    echo "$0: this is no Debian; make sure that these are here:" $wanted >&2
    exit 0
fi

missing=""
for package in $wanted; do
    status=$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null || true)
    [ "$status" = installed ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

as_root=""
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo > /dev/null; then
        echo "$0: missing packages:$missing. Run as root: apt-get install$missing" >&2
        exit 1
    fi
    as_root="sudo"
fi
echo "installing:$missing"
log=$(mktemp)
if ! { $as_root apt-get update && $as_root env DEBIAN_FRONTEND=noninteractive apt-get install \
       --yes --no-install-recommends $missing; } > "$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "$0: apt-get could not install:$missing" >&2
    exit 1
fi
rm -f "$log"
