#!/bin/bash
# Installs what Forestall needs and this machine lacks, from Debian's packages.
#
#   scripts/setup.sh            what `make demo` needs
#   scripts/setup.sh --tests    what `make test` needs: rustfmt, clippy, tshark, Chromium and players, too
#   scripts/setup.sh --check    only say what is missing
#
# It says what it will install before it does. FORESTALL_INSTALL=no makes it only say so.
# Exit codes: 0 nothing is missing (any more), 1 an installation failed, 2 wrong argument, 3 something is missing.
set -euo pipefail

RUST_MINOR_MIN=89 # `rust-version` in Cargo.toml

check_only=no
tests=no
for argument in "$@"; do
    case "$argument" in
        --check) check_only=yes ;;
        --tests) tests=yes ;;
        -h | --help) sed -n '2,9s/^# \{0,1\}//p' "$0"; exit 0 ;;
        *) echo "error: unknown argument $argument; see scripts/setup.sh --help" >&2; exit 2 ;;
    esac
done
nothing_done="Nothing was installed. As root:"
case "${FORESTALL_INSTALL:-yes}" in
    no) check_only=yes ;;
    done) check_only=yes; nothing_done="Still missing after the installation. By hand, as root:" ;; # this script, see its end
esac

# Debian keeps some of what is looked for where only root's PATH leads.
PATH=$PATH:/usr/sbin:/sbin

program() { command -v "$1" > /dev/null 2>&1; }
library() { program pkg-config && pkg-config --exists "$1" 2> /dev/null; }
gst() { program gst-inspect-1.0 && gst-inspect-1.0 --exists "$1" > /dev/null 2>&1; }
libvirt_qemu() { compgen -G '/usr/lib/*/libvirt/connection-driver/libvirt_driver_qemu.so' > /dev/null; }
vlc_plugin() { compgen -G "/usr/lib/*/vlc/plugins/$1_plugin.so" > /dev/null; }
libclang() {
    [ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' > /dev/null
}

missing=() # packages
say=()     # what they are for
need() { # PACKAGE PURPOSE TEST...
    local package=$1 purpose=$2
    shift 2
    if ! "$@"; then
        missing+=("$package")
        say+=("$(printf '  %-20s %s' "$package" "$purpose")")
    fi
}

# To build.
need gcc                "links Rust programs"                     program cc
need libc6-dev          "the C library's headers"                 test -e /usr/include/stdlib.h
need pkg-config         "finds libraries"                         program pkg-config
need clang              "tells bindgen where headers are"         program clang
need libclang-dev       "reads the headers of FFmpeg's libraries" libclang
need libavcodec-dev     "video codecs"                            library libavcodec
need libavutil-dev      "pictures of the codecs"                  library libavutil
need libavformat-dev    "wanted by the Rust binding; nothing of it is called" library libavformat
# To run the lab. `forestall lab check` has the same list (lab/src/check.rs).
need qemu-system-x86    "virtual machines"                        program qemu-system-x86_64
need snmpd              "the edge servers' agents, and tests of SNMP" program snmpd
need stress-ng          "background load"                         program stress-ng
need ffmpeg             "the thesis' chain of programs"           program ffmpeg
need iproute2           "namespaces and links"                    program ip
need iputils-ping       "round trips over links"                  program ping
need tcpdump            "arrivals at the player's link layer"     program tcpdump
need util-linux         "an agent's own view of /proc"            program unshare
need busybox-static     "the guest's user land"                   program busybox
need squashfs-tools     "the guest's root image"                  program mksquashfs
need cpio               "the guest's initramfs"                   program cpio
need gzip               "packs the guest's initramfs"             program gzip
need fonts-dejavu-core  "clock and inserted text"                 test -e /usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf
# To test.
if [ "$tests" = yes ]; then
    need tshark         "captures real video, and measures it to compare with"  program tshark
    need gstreamer1.0-tools         "somebody else's sender and player"  program gst-launch-1.0
    need gstreamer1.0-plugins-base  "its raw pictures"                   gst rawvideoparse
    need gstreamer1.0-plugins-good  "its UDP and HTTP"                   gst souphttpsrc
    need gstreamer1.0-plugins-bad   "its transport stream"               gst mpegtsmux
    need gstreamer1.0-plugins-ugly  "its H.264 encoder"                  gst x264enc
    need gstreamer1.0-libav         "its decoders"                       gst avdec_h264
    need mpv                "somebody else's player"          program mpv
    need vlc-bin            "another one"                     program vlc
    need vlc-plugin-base    "its transport stream"            vlc_plugin demux/libts
    need vlc-plugin-video-output "its window"                 vlc_plugin video_output/libxcb_x11
    need xvfb               "a screen for windows"            program Xvfb
    need tesseract-ocr  "reads the clock's digits, beside the code strip's reader" program tesseract
    need chromium       "plays the browser page"              program chromium
    need chromium-driver "drives it"                          program chromedriver
    need fonts-wqy-microhei "text in Chinese over the picture" test -e /usr/share/fonts/truetype/wqy/wqy-microhei.ttc
    need fonts-lohit-deva "text whose vowels change places"  test -e /usr/share/fonts/truetype/lohit-devanagari/Lohit-Devanagari.ttf
    need prometheus-node-exporter "tells a host's load in its own way" program prometheus-node-exporter
    need iptables        "cuts the lines of networks that tests made"  program iptables
    need wireguard-go    "a VPN in user space, for round trips"  program wireguard-go
    need wireguard-tools "its keys and peers"                    program wg
    need libvirt-daemon  "moves virtual machines between two of it"  program libvirtd
    need libvirt-daemon-driver-qemu "its QEMU"                libvirt_qemu
    need libvirt-clients "asks it"                            program virsh
    need openssh-server  "the way to a libvirtd of another machine" program sshd
    need netcat-openbsd  "the end of that way, with older libvirt"  program nc.openbsd
    need systemd         "runs the packaged unit in its sandbox"    program systemd-analyze
fi

# The lab downloads the guest's kernel by apt, without installing it: apt has to know of it.
lists=known
if program apt-cache && ! apt-cache depends linux-image-cloud-amd64 2> /dev/null | grep -q 'Depends: linux-image'; then
    lists=unknown
fi

# Rust is not taken from Debian 12: its version is too old.
rust=
if ! program cargo; then
    rust="Rust is missing. Install it with
    curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y && . \"\$HOME/.cargo/env\""
    [ -x "$HOME/.cargo/bin/cargo" ] && rust="Rust is there, but not on the PATH:
    . \"\$HOME/.cargo/env\""
else
    # rustup's cargo without a toolchain is there, but fails.
    version=$(cargo --version 2> /dev/null | sed -nE 's/^cargo 1\.([0-9]+)\..*/\1/p' || true)
    if [ -z "$version" ]; then
        rust="cargo does not say its version. Install a toolchain with
    rustup default stable"
    elif [ "$version" -lt "$RUST_MINOR_MIN" ]; then
        rust="Rust 1.$RUST_MINOR_MIN or later is needed; this is $(cargo --version). Renew it with
    rustup update stable"
    elif [ "$tests" = yes ] && ! { cargo fmt --version && cargo clippy --version; } > /dev/null 2>&1; then
        rust="The tests need rustfmt and clippy. Install them with
    rustup component add rustfmt clippy"
    fi
fi

if [ ${#missing[@]} -eq 0 ] && [ "$lists" = known ] && [ -z "$rust" ]; then
    echo "Everything that Forestall needs is installed."
    exit 0
fi

steps=()
[ ${#missing[@]} -gt 0 ] || [ "$lists" = unknown ] && steps+=("apt-get update")
[ ${#missing[@]} -gt 0 ] && steps+=("apt-get install --no-install-recommends ${missing[*]}")

if [ ${#missing[@]} -gt 0 ]; then
    echo "Missing packages:"
    printf '%s\n' "${say[@]}"
fi
[ "$lists" = unknown ] && echo "Missing: apt's package lists (the guest's kernel is downloaded by apt)"
[ -n "$rust" ] && echo "$rust"

by_hand() {
    if [ ${#steps[@]} -gt 0 ]; then
        echo "$1"
        printf '    %s\n' "${steps[@]}"
    fi
    exit 3
}

[ "$check_only" = yes ] && by_hand "$nothing_done"
# Nothing can be built without it, so nothing else is installed before it is there.
[ -n "$rust" ] && by_hand "Nothing was installed. Get Rust as above, then start again. The rest, as root, if you do not want it done then:"
program apt-get || by_hand "There is no apt-get here. On Debian 12 it would be, as root:"

sudo=
if [ "$(id -u)" -ne 0 ]; then
    program sudo || by_hand "Root's rights are needed to install, and there is no sudo. As root:"
    sudo=sudo
fi

echo "This will be done now${sudo:+, with sudo}:"
printf '    %s\n' "${steps[@]}"
if [ -t 0 ] && [ -t 1 ]; then
    echo "Ctrl-C within 5 s if you do not want it (FORESTALL_INSTALL=no only says what is missing)."
    sleep 5
fi

# Debian starts snmpd, node_exporter and sshd when they are installed. Nothing here wants them on this machine's own addresses: while
# the packages are installed, starting services is forbidden, unless the machine has a policy of its own.
policy=/usr/sbin/policy-rc.d
allow_services() { $sudo rm -f "$policy"; }
services=()
for service in snmpd prometheus-node-exporter openssh-server; do
    # Debian's sshd is the service `ssh`.
    if [[ " ${missing[*]-} " == *" $service "* ]]; then services+=("${service/openssh-server/ssh}"); fi
done
if [ ${#services[@]} -gt 0 ] && [ ! -e "$policy" ]; then
    trap allow_services EXIT
    printf '#!/bin/sh\n# Made by scripts/setup.sh of Forestall while it installs packages.\nexit 101\n' | $sudo tee "$policy" > /dev/null
    $sudo chmod 755 "$policy"
    echo "Not started by this: ${services[*]}. To keep them from starting with the machine: systemctl disable ${services[*]}"
fi

failed() {
    echo "error: $1 failed, see above. By hand, as root:" >&2
    printf '    %s\n' "${steps[@]}" >&2
    exit 1
}
$sudo apt-get update -q || failed "apt-get update"
if [ ${#missing[@]} -gt 0 ]; then
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends "${missing[@]}" \
        || failed "apt-get install"
fi
# Look again instead of trusting that it worked.
FORESTALL_INSTALL=done "$0" "$@"
