#!/usr/bin/env bash
# Fetches what the guest is made of into a folder, and installs nothing.
#
# A kernel with the drivers of real network interfaces, QEMU where the machine has none that knows igb, and a few
# programs for the guest. They are Debian packages, found by name in apt lists of our own beside the machine's, from
# the mirror that the machine already uses, and only unpacked. So root is not needed, and the machine stays as it is.
# Versions are what the mirror serves today; the folder keeps them until it is removed.
#
# usage: fetch.sh FOLDER    (exit code 3: cannot be had here, and why)
set -euo pipefail

FOLDER=$(mkdir -p "$1" && cd "$1" && pwd)
readonly FOLDER
readonly APT=$FOLDER/apt
# What the guest has beside the programs of the machine, whose release these packages must be of.
readonly PROGRAMS=(busybox-static kmod tcpdump systemd systemd-sysv dbus)
# Where zero-copy for igb is (Linux 6.14 and later); the release is Debian 13.
readonly KERNEL_SUITE=trixie-backports

cannot() {
    echo "nic: $*" >&2
    exit 3
}

# The first Debian mirror of the machine's own lists.
mirror() {
    apt-get indextargets --format '$(ORIGIN) $(SITE) $(SUITE)' 'Created-By: Packages' |
        awk '$1 == "Debian" && $2 !~ /security/ { print $2; exit }'
}

# Lists of our own: this release, its backports, and those that the kernel is in.
write_lists() {
    local site release suite
    site=$(mirror)
    [ -n "$site" ] || cannot "no Debian mirror in apt's lists (apt-get update makes them)"
    release=$(. /etc/os-release && echo "${VERSION_CODENAME:-}")
    [ -n "$release" ] || cannot "/etc/os-release names no release"
    mkdir -p "$APT/lists/partial" "$APT/archives/partial"
    for suite in "$release" "$release-backports" "$KERNEL_SUITE"; do
        echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $site $suite main"
    done | sort -u >"$APT/sources.list"
    cat >"$APT/apt.conf" <<CONF
Dir::Etc::SourceList "$APT/sources.list";
Dir::Etc::SourceParts "-";
Dir::State::Lists "$APT/lists";
Dir::Cache "$APT";
Acquire::Languages "none";
APT::Sandbox::User "root";
Debug::NoLocking "1";
CONF
    export APT_CONFIG=$APT/apt.conf
    apt-get -qq update || cannot "apt cannot read its lists"
    RELEASE=$release
}

# Downloads packages with all that they need and the machine has not.
download_with_needs() {
    apt-get -qq -y --no-install-recommends --download-only "$@"
}

qemu_knows_igb() {
    command -v qemu-system-x86_64 >/dev/null && qemu-system-x86_64 -device help 2>/dev/null | grep -q '"igb"'
}

download_qemu() {
    if ! qemu_knows_igb; then
        download_with_needs -t "$RELEASE-backports" install qemu-system-x86
    fi
}

# The package that follows the kernel names the one of a version; that one is whole, or in parts.
download_kernel() {
    local image parts
    image=$(apt-cache depends "linux-image-amd64/$KERNEL_SUITE" | awk '/Depends: linux-image-/ { print $2 }')
    [ -n "$image" ] || cannot "$KERNEL_SUITE has no kernel"
    parts=$(apt-cache depends "$image" | awk '/Depends: linux-(binary|modules)-/ { print $2 }')
    (cd "$APT/archives" && apt-get -qq download ${parts:-"$image"})
}

# Into one tree, whose top folders are links as on a machine that merged them into /usr.
unpack() {
    local package link
    mkdir -p "$FOLDER/root/usr"
    for link in bin sbin lib lib64; do
        mkdir -p "$FOLDER/root/usr/$link"
        ln -sfn "usr/$link" "$FOLDER/root/$link"
    done
    for package in "$APT"/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" |
            tar --extract --no-same-owner --keep-directory-symlink --directory "$FOLDER/root"
    done
    rm -f "$APT"/archives/*.deb
}

# One of the names that kmod goes by; the machine may have none.
kmod() {
    local kmod=$FOLDER/root/usr/bin/kmod
    [ -x "$kmod" ] || kmod=$(command -v kmod)
    (export LD_LIBRARY_PATH=$FOLDER/root/usr/lib/x86_64-linux-gnu && exec -a "$1" "$kmod" "${@:2}")
}

# The kernel, the modules' index, and what the kernel starts with: busybox, and the modules by which our init reaches
# the rest, which the host shares. (depmod misses lists that only a whole image has, and does without.)
make_bootable() {
    local root=$FOLDER/root version module number=100
    local initrd=$FOLDER/initrd busybox=$FOLDER/root/usr/bin/busybox
    [ -x "$busybox" ] || busybox=$(command -v busybox)
    version=$(ls "$root/usr/lib/modules")
    kmod depmod --basedir "$root" "$version" 2>/dev/null
    cp "$(ls -d "$root/boot/vmlinuz-$version" "$root/usr/lib/modules/$version/vmlinuz" 2>/dev/null | head -n 1)" \
        "$FOLDER/vmlinuz"
    mkdir -p "$initrd"/{bin,modules}
    cp "$busybox" "$initrd/bin/busybox"
    # A driver that is built in is no module, and nothing is shown for it.
    for module in virtio_pci 9pnet_virtio 9p overlay; do
        kmod modprobe --quiet --dirname "$root" --set-version "$version" --show-depends "$module" || true
    done | awk '$1 == "insmod" && !seen[$2]++ { print $2 }' | while read -r module; do
        number=$((number + 1))
        xz --decompress --stdout "$module" >"$initrd/modules/$number-$(basename "$module" .xz)"
    done
}

main() {
    local program
    [ "$(uname -m)" = x86_64 ] || cannot "the guest is an x86-64 machine, and so must be this one"
    for program in apt-get dpkg-deb tar xz; do
        command -v "$program" >/dev/null || cannot "the packages of its guest need $program, which is not here"
    done
    if [ -e "$FOLDER/complete" ]; then
        return
    fi
    echo "nic: fetching a kernel and what its guest needs into $FOLDER"
    rm -rf "$FOLDER"/{root,initrd,apt}
    write_lists
    download_qemu || cannot "QEMU could not be fetched"
    download_with_needs install "${PROGRAMS[@]}" || cannot "the guest's programs could not be fetched"
    download_kernel || cannot "the kernel could not be fetched"
    unpack
    make_bootable
    touch "$FOLDER/complete"
}

main
