#!/usr/bin/env bash
# Installs what the build and the tests need, and nothing when it is all there.
#
# Each line of `needs` is a Debian package and what shows that it is there: a command or a file. So a
# machine of another distribution that has the tools passes, too; only the installing is Debian's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# libxdp and libbpf are built from their sources by their crates: clang, llvm (llc), m4, make, libelf,
# zlib. bindgen loads libclang, which comes with clang. linux-libc-dev has the kernel's headers. Video: windows
# load libX11 and libXcursor; GStreamer and ffmpeg send and receive beside us in tests and in the demo.
needs() {
    cat <<'LIST'
gcc             gcc
binutils        ld
libc6-dev       /usr/include/stdlib.h
linux-libc-dev  /usr/include/linux/if_xdp.h
make            make
m4              m4
pkg-config      pkg-config
clang           clang
llvm            llc
libelf-dev      /usr/include/libelf.h
zlib1g-dev      /usr/include/zlib.h
iproute2        ip
iputils-ping    ping
traceroute      traceroute
ethtool         ethtool
iperf3          iperf3
nftables        nft
procps          sysctl
util-linux      setpriv
python3-scapy   /usr/lib/python3/dist-packages/scapy/__init__.py
ffmpeg          ffmpeg
xvfb            Xvfb
libx11-6        /usr/lib/*/libX11.so.6
libxcursor1     /usr/lib/*/libXcursor.so.1
gstreamer1.0-tools         gst-launch-1.0
gstreamer1.0-plugins-base  /usr/lib/*/gstreamer-1.0/libgstvideotestsrc.so
gstreamer1.0-plugins-good  /usr/lib/*/gstreamer-1.0/libgstrtp.so
gstreamer1.0-x             /usr/lib/*/gstreamer-1.0/libgstximagesink.so
LIST
}

# Is a command or file (or one that a pattern means) of `needs` there? sbin is not on everybody's PATH.
present() {
    case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

missing_packages() {
    local package probe
    while read -r package probe; do
        present "$probe" || echo "$package"
    done < <(needs)
}

install_packages() {
    local as_root=()
    if ! command -v apt-get >/dev/null; then
        echo "setup: missing here: $*. Install what your distribution calls them, then run this again." >&2
        return 1
    fi
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "setup: missing here: $*. As root, run: apt-get install $*" >&2
            return 1
        fi
        as_root=(sudo)
        echo "setup: installing needs root; sudo may ask for your password"
    fi
    echo "setup: installing $*"
    "${as_root[@]}" apt-get update -q
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "$@"
}

setup_rust() {
    if ! command -v cargo >/dev/null; then
        echo "setup: cargo is not on the PATH. Install Rust with rustup (https://rustup.rs), then run this again." >&2
        return 1
    fi
    # With rustup, the first command in this folder fetches the toolchain of rust-toolchain.toml.
    if [ ! -d "$(rustc --print target-libdir --target wasm32-unknown-unknown)" ]; then
        echo "setup: adding the Rust target wasm32-unknown-unknown"
        rustup target add wasm32-unknown-unknown
    fi
}

main() {
    local missing
    mapfile -t missing < <(missing_packages)
    if [ "${#missing[@]}" -gt 0 ]; then
        install_packages "${missing[@]}"
    fi
    setup_rust
}

main
