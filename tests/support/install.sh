# Sourced by tests/run.sh and examples/demo.sh.
# install_packages NAME...: installs the Debian/Ubuntu packages that are missing, as root or through sudo. Where there is no
# apt-get it says what is needed and goes on: the packages may be there under other names.
install_packages() {
    missing=''
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
    done
    [ -n "$missing" ] || return 0
    if ! command -v apt-get >/dev/null; then
        echo "no apt-get here; this needs, under your system's names:$missing" >&2
        return 0
    fi
    as_root=''
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "missing packages, and neither root nor sudo to install them:$missing" >&2
            return 1
        fi
        as_root=sudo
    fi
    echo "installing$missing"
    # The lists may be absent or stale: install, and if that fails refresh them and try once more.
    for try in 1 2; do
        # shellcheck disable=SC2086
        if $as_root env DEBIAN_FRONTEND=noninteractive \
            apt-get install -y -qq --no-install-recommends $missing >/tmp/smolvlm-install.$$ 2>&1; then
            rm -f /tmp/smolvlm-install.$$
            return 0
        fi
        [ $try = 2 ] || $as_root apt-get update -qq >/dev/null 2>&1 || true
    done
    cat /tmp/smolvlm-install.$$ >&2
    rm -f /tmp/smolvlm-install.$$
    echo "could not install:$missing" >&2
    return 1
}
