#!/bin/sh
# Makes sure that the browser tests have a browser, or says what to install.
# usage: tools/install_browser.sh PYTHON
set -eu
python=$1

debian_has_both() {
    command -v chromium >/dev/null && dpkg -s fonts-noto-cjk >/dev/null 2>&1
}

install_with_apt() {
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    apt-get update &&
        DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends \
            chromium fonts-noto-cjk
}

debian_has_both || install_with_apt || command -v chromium >/dev/null ||
    "$python" -m playwright install chromium || {
    echo "The browser tests need Chromium. Install one of these, then try again:" >&2
    echo "  Debian:     apt-get install chromium fonts-noto-cjk   (as root)" >&2
    echo "  elsewhere:  $python -m playwright install --with-deps chromium" >&2
    exit 1
}
