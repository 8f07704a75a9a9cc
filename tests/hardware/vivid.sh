#!/usr/bin/env bash
# Runs a script of this folder as root in a small virtual machine with Debian's own kernel, which has what containers and
# CI machines lack: `vivid`, the kernel's own video camera, and USB devices made of software. The machine sees this
# file system read-only; nothing is changed on it, and nothing is left.
#
#   tests/hardware/vivid.sh [--python PYTHON] [SCRIPT [ARGUMENT...]]      default: in_guest.sh
#
# PYTHON runs the tests (default: the environment's in .venv). Exit code: the script's; 75 when the machine did not run.
# Needs Debian on x86-64, no KVM, no root, and:
#   apt-get install --no-install-recommends qemu-system-x86 busybox-static kmod
# The kernel (70 MB to download, 65 MB unpacked) is kept in $GOLDLINE_KERNEL_CACHE, else in a temporary folder.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
if [ "${1:-}" = --python ]; then
    python=$2
    shift 2
fi
script=$(realpath "tests/hardware/${1:-in_guest.sh}")
[ $# -eq 0 ] || shift
for program in "qemu-system-x86_64 qemu-system-x86" "busybox busybox-static" "modprobe kmod"; do
    PATH=$PATH:/usr/sbin:/sbin command -v "${program% *}" >/dev/null ||
        { echo "vivid.sh: needs ${program% *} (apt-get install ${program#* })" >&2; exit 75; }
done
PATH=$PATH:/usr/sbin:/sbin
[ -x "$python" ] || { echo "vivid.sh: $python: no Python there; name one with --python" >&2; exit 75; }

work=$(mktemp -d "${TMPDIR:-/tmp}/goldline-vivid.XXXXXX")
trap 'rm -rf "$work"' EXIT
cache=${GOLDLINE_KERNEL_CACHE:-$work}

# 1. The kernel of this Debian: its image and the modules that a camera needs, without their 300 MB of others.
fetch_kernel() {
    local package
    package=$(apt-cache depends linux-image-amd64 2>/dev/null | awk '/Depends: linux-image-[0-9]/{print $2; exit}')
    [ -n "$package" ] || { echo "vivid.sh: apt knows no kernel; run apt-get update" >&2; exit 75; }
    kernel=$cache/$package
    version=${package#linux-image-}
    [ ! -e "$kernel/complete" ] || return 0
    mkdir -p "$kernel"
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download "$package" 2>&1 | tail -1)
    dpkg-deb --fsys-tarfile "$work/$package"_*.deb | tar x -C "$kernel" --wildcards './boot/vmlinuz*' './lib/modules/*/modules.*' \
        './lib/modules/*/kernel/drivers/'{media,virtio,usb,video}/'*' \
        './lib/modules/*/kernel/'{fs/9p,fs/netfs,fs/fscache,lib,net/9p}/'*'
    rm "$work/$package"_*.deb
    depmod -b "$kernel" "$version"
    touch "$kernel/complete"
}

# 2. A first file system in memory: busybox, and the modules by which it sees this one.
make_initrd() {
    local root=$work/initrd module number=0
    mkdir -p "$root"/{bin,proc,sys,dev,mnt,modules}
    cp "$(command -v busybox)" "$root/bin/busybox"
    for module in virtio_pci 9pnet_virtio 9p; do
        modprobe -d "$kernel" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}'
    done | awk '!seen[$0]++' | while read -r module; do
        number=$((number + 1))
        cp "$module" "$root/modules/$(printf '%02d' "$number")-$(basename "$module")"
    done
    cat >"$root/init" <<'INIT'
#!/bin/busybox sh
b=/bin/busybox
$b mount -t proc proc /proc
$b mount -t devtmpfs dev /dev
for module in /modules/*; do
    case $module in *.xz) $b xzcat "$module" >/module.ko; $b insmod /module.ko ;; *) $b insmod "$module" ;; esac
done
$b mount -t 9p -o trans=virtio,version=9p2000.L,msize=512000,cache=loose,ro host /mnt
for system in proc:proc sysfs:sys devtmpfs:dev tmpfs:run; do
    $b mount -t ${system%:*} ${system%:*} /mnt/${system#*:}
done
for share in order kernel; do
    $b mkdir /mnt/run/$share
    $b mount -t 9p -o trans=virtio,version=9p2000.L,ro $share /mnt/run/$share
done
$b chroot /mnt /bin/bash /run/order/run
echo "goldline-guest-ended $?"
$b poweroff -f
INIT
    chmod +x "$root/init"
    (cd "$root" && find . | busybox cpio -o -H newc 2>/dev/null) >"$work/initrd.cpio"
}

# 3. What the machine does, in a folder of its own, which it finds wherever this one lies.
make_order() {
    mkdir -p "$work/order"
    {
        echo "#!/bin/bash"
        printf 'cd %q\n' "$PWD"
        printf 'export PYTHON=%q KERNEL=%q VERSION=%q\n' "$(realpath -s "$python")" /run/kernel "$version"
        echo 'export HOME=/run TMPDIR=/run PYTHONDONTWRITEBYTECODE=1 PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8'
        printf 'exec /bin/bash'
        printf ' %q' "$script" "$@"
        echo
    } >"$work/order/run"
}

# A run takes two minutes; one that hangs is ended.
run_machine() {
    timeout --foreground 900 qemu-system-x86_64 -machine q35 -accel tcg,thread=multi -cpu max -smp 2 -m 1024 -nodefaults -no-reboot -display none \
        -serial stdio -kernel "$kernel/boot/vmlinuz-$version" -initrd "$work/initrd.cpio" \
        -append "console=ttyS0 quiet loglevel=3 panic=-1 mitigations=off" \
        -fsdev local,id=host,path=/,security_model=none,readonly=on,multidevs=remap \
        -device virtio-9p-pci,fsdev=host,mount_tag=host \
        -fsdev local,id=order,path="$work/order",security_model=none,readonly=on \
        -device virtio-9p-pci,fsdev=order,mount_tag=order \
        -fsdev local,id=kernel,path="$kernel",security_model=none,readonly=on \
        -device virtio-9p-pci,fsdev=kernel,mount_tag=kernel </dev/null | tr -d '\r' | tee "$work/said"
}

fetch_kernel
make_initrd
make_order "$@"
run_machine
exit "$(awk '$1 == "goldline-guest-ended" {code = $2} END {print code == "" ? 75 : code}' "$work/said")"
