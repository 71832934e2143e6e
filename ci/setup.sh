#!/usr/bin/env bash
# setup.sh JOB: installs what a job of run.sh needs, and nothing when it is all there. Without a job, everything.
#
# Each line of `needs` is a Debian package, what shows that it is there (a command or a file), and what for. So a
# machine of another distribution that has the tools passes, too; only the installing is Debian's.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# build: libxdp and libbpf are built from their sources by their crates, and the XDP programs by ours: clang, llvm
# (llc, llvm-strip), m4, make, libelf, zlib. bindgen loads libclang, which comes with clang. linux-libc-dev has the kernel's
# headers. demo: namespaces, and measuring between them. netns: what the other tests in namespaces run. video: windows load
# libX11 and libXcursor; GStreamer and ffmpeg send and receive beside us in tests and in the demo.
needs() {
    cat <<'LIST'
gcc             gcc                          build
binutils        ld                           build
libc6-dev       /usr/include/stdlib.h        build
linux-libc-dev  /usr/include/linux/if_xdp.h  build
make            make                         build
m4              m4                           build
pkg-config      pkg-config                   build
clang           clang                        build
llvm            llvm-strip                   build
libelf-dev      /usr/include/libelf.h        build
zlib1g-dev      /usr/include/zlib.h          build
iproute2        ip                           demo
traceroute      traceroute                   demo
ethtool         ethtool                      demo
iperf3          iperf3                       demo
iputils-ping    ping                         netns
nftables        nft                          netns
iptables        iptables                     netns
ipset           ipset                        netns
procps          sysctl                       netns
util-linux      setpriv                      netns
python3-scapy   /usr/lib/python3/dist-packages/scapy/__init__.py  netns
ffmpeg          ffmpeg                       video
xvfb            Xvfb                         video
libx11-6        /usr/lib/*/libX11.so.6       video
libxcursor1     /usr/lib/*/libXcursor.so.1   video
gstreamer1.0-tools         gst-launch-1.0    video
gstreamer1.0-plugins-base  /usr/lib/*/gstreamer-1.0/libgstvideotestsrc.so  video
gstreamer1.0-plugins-good  /usr/lib/*/gstreamer-1.0/libgstrtp.so           video
gstreamer1.0-x             /usr/lib/*/gstreamer-1.0/libgstximagesink.so    video
LIST
}

# What a job needs. `quick` and `one` make do with what is there: a test that misses something says so.
needs_of() {
    case $1 in
    fmt | unsafe | deps | deny | quick | one) ;;
    lint | doc | wasm | model | bench-smoke | fuzz) echo build ;;
    demo) echo build demo ;;
    demo-video) echo build demo video ;;
    performance | differential) echo build demo netns ;;
    *) echo build demo netns video ;;
    esac
}

# Is a command or file (or one that a pattern means) of `needs` there? sbin is not on everybody's PATH.
present() {
    case $1 in
    /*) compgen -G "$1" >/dev/null ;;
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    esac
}

# missing_packages PURPOSE...
missing_packages() {
    local package probe purpose
    while read -r package probe purpose; do
        case " $* " in
        *" $purpose "*) present "$probe" || echo "$package" ;;
        esac
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
    local missing purposes
    read -r -a purposes < <(needs_of "${1:-all}") || true
    mapfile -t missing < <(missing_packages "${purposes[@]}")
    if [ "${#missing[@]}" -gt 0 ]; then
        install_packages "${missing[@]}"
    fi
    setup_rust
}

main "$@"
