#!/bin/sh
# Installs the object stores that the tests run on 127.0.0.1, and Beam's portable engine with the program that
# starts its workers. Needs Go and its module proxy, and some minutes.
# Usage: tests/remote/install.sh; RNNPIPE_TEST_BIN says where to, by default ~/.cache/rnnpipe-test-bin.
set -eu

bin=${RNNPIPE_TEST_BIN:-$HOME/.cache/rnnpipe-test-bin}
mkdir -p "$bin"
bin=$(cd "$bin" && pwd)

if ! command -v go > /dev/null; then
    echo "Go is not installed, which builds the servers: https://go.dev/doc/install" >&2
    exit 1
fi

install() { # what its program is called, the package, the version
    if [ -x "$bin/$1" ]; then
        echo "$bin/$1 is there"
    else
        echo "installing $1 $3 into $bin"
        (cd "$bin" && GOFLAGS=-mod=mod GOBIN="$bin" go install "$2@$3")
    fi
}

install versitygw github.com/versity/versitygw/cmd/versitygw v1.8.0
install fake-gcs-server github.com/fsouza/fake-gcs-server v1.52.3
install prism github.com/apache/beam/sdks/v2/go/cmd/prism v2.77.0
install container github.com/apache/beam/sdks/v2/python/container v2.77.0
