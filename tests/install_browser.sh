#!/bin/sh
# Installs the browser in which tests look at cards. Needs Debian's packages, and the right to install them.
set -eu

if command -v chromium > /dev/null; then
    echo "chromium is there"
else
    apt-get update -q
    apt-get install -q -y --no-install-recommends chromium
fi
