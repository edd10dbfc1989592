#!/bin/sh
# Makes sure that the tests of deploy/ have nginx, or says what to install.
# usage: tools/install_nginx.sh
set -eu
PATH=$PATH:/usr/sbin

install_with_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends nginx
}

command -v nginx >/dev/null || install_with_apt || {
    echo "The tests of deploy/ need nginx 1.22 or newer. Install it, then try again:" >&2
    echo "  Debian:  apt-get install nginx   (as root)" >&2
    echo "  macOS:   brew install nginx" >&2
    exit 1
}
