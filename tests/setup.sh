#!/usr/bin/env bash
# Installs what a fresh Debian or Ubuntu lacks, as root or through sudo; otherwise prints the exact command and stops.
# Quick when nothing is missing.
#
#   tests/setup.sh build               what building needs
#   tests/setup.sh test                what the tests need as well
#   tests/setup.sh venv DIR FILE       a Python environment in DIR with the packages of FILE
#   tests/setup.sh npm DIR FROM        a copy of the folder FROM in DIR, with the packages that its lock file names
set -euo pipefail

packages=()

need() { # need COMMAND PACKAGE
    command -v "$1" > /dev/null || packages+=("$2")
}

for_building() {
    if ! command -v cargo > /dev/null; then
        echo "setup: no cargo. Install Rust from https://rustup.rs; rust-toolchain.toml names the version" >&2
        exit 1
    fi
    # librdkafka is built by its configure script, OpenSSL by Perl and make; zlib, zstd and SQLite are built in.
    need cc build-essential
    need c++ build-essential
    need make build-essential
    need perl perl
}

for_testing() {
    if [ "$(java_version)" -lt 17 ]; then
        packages+=(java)
    fi
    need mvn maven
    need node nodejs
    need npm npm
    if ! python > /dev/null; then
        packages+=(python3 python3-venv)
    fi
    need journalctl systemd
    # Senders of syslog, in clear and over TLS, and what makes certificates for them.
    need logger bsdutils
    need rsyslogd rsyslog
    compgen -G "/usr/lib/*/rsyslog/lmnsd_ossl.so" > /dev/null || packages+=(rsyslog-openssl)
    need openssl openssl
    # Its programs are not on the path.
    compgen -G "/usr/lib/postgresql/*/bin/initdb" > /dev/null || packages+=(postgresql)
    if [ ! -x /usr/lib/systemd/systemd-journal-remote ] && [ ! -x /lib/systemd/systemd-journal-remote ]; then
        packages+=(systemd-journal-remote)
    fi
}

# The major version of java; 0 if there is none that works.
java_version() {
    local version
    version=$(java -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1) || true
    echo "${version:-0}"
}

# The newest Java that the system offers without a window system; 17 if its lists are empty.
java_package() {
    local version
    for version in 25 21; do
        if apt-cache policy "openjdk-$version-jre-headless" 2> /dev/null | grep -q 'Candidate: [0-9]'; then
            echo "openjdk-$version-jre-headless"
            return
        fi
    done
    echo openjdk-17-jre-headless
}

# The packages to install, each once.
wanted() {
    printf '%s\n' "${packages[@]}" | sort -u | sed "s/^java\$/$(java_package)/"
}

# A Python that can make environments.
python() {
    local candidate
    for candidate in python3 /usr/bin/python3; do
        if "$candidate" -c 'import ensurepip, venv' 2> /dev/null; then
            echo "$candidate"
            return
        fi
    done
    return 1
}

install_packages() {
    if [ ${#packages[@]} -eq 0 ]; then
        return
    fi
    local names as_root=()
    mapfile -t names < <(wanted)
    if ! command -v apt-get > /dev/null; then
        echo "setup: this is no Debian or Ubuntu. Install what these packages hold: ${names[*]}" >&2
        exit 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        # Without a terminal sudo must not ask for a password.
        if command -v sudo > /dev/null && { sudo -n true 2> /dev/null || { [ -t 0 ] && sudo -v; }; }; then
            as_root=(sudo)
        else
            echo "setup: missing: ${names[*]}. As root, run:" >&2
            echo "  apt-get update && apt-get install -y --no-install-recommends ${names[*]}" >&2
            exit 1
        fi
    fi
    "${as_root[@]}" apt-get update -q
    mapfile -t names < <(wanted) # the lists are new: another Java may be on offer
    echo "setup: installing ${names[*]}" >&2
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${names[@]}"
    echo "setup: installed ${names[*]}" >&2
}

# What was installed must be what is found: an older one may stand before it on the path.
verify() {
    packages=()
    "$@"
    if [ ${#packages[@]} -gt 0 ]; then
        echo "setup: installed, but still not found: ${packages[*]}; is an older one earlier on the PATH?" >&2
        exit 1
    fi
}

make_venv() { # make_venv DIR FILE
    local interpreter
    if ! interpreter=$(python); then
        echo "setup: no Python with venv; run tests/setup.sh test first" >&2
        exit 1
    fi
    echo "setup: $1 gets $(grep -c '^[^#]' "$2") Python packages" >&2
    "$interpreter" -m venv --clear "$1"
    "$1/bin/python" -m pip install --quiet --disable-pip-version-check --requirement "$2"
}

make_npm() { # make_npm DIR FROM
    local version
    version=$(node --version 2> /dev/null | sed 's/^v\([0-9]*\).*/\1/') || true
    if [ "${version:-0}" -lt 20 ]; then
        echo "setup: $2 needs Node.js 20 or later, found ${version:-none}: https://nodejs.org" >&2
        exit 1
    fi
    echo "setup: $1 gets the packages of $2/package-lock.json" >&2
    mkdir -p "$1"
    cp "$2"/* "$1"
    (cd "$1" && npm ci --silent --no-audit --no-fund)
}

case ${1:-} in
    build)
        for_building
        install_packages
        verify for_building
        ;;
    test)
        for_building
        for_testing
        install_packages
        verify for_building
        verify for_testing
        ;;
    venv)
        make_venv "$2" "$3"
        ;;
    npm)
        make_npm "$2" "$3"
        ;;
    *)
        echo "usage: tests/setup.sh build | test | venv DIR FILE | npm DIR FROM" >&2
        exit 2
        ;;
esac
