#!/usr/bin/env bash
# Inside the virtual machine, as root: a USB controller for devices made of software, and two cameras of the kernel's own.
# The driver of the first writes into memory it is given, the ring's; that of the second has only its own, as many on
# embedded boards.
set -euo pipefail
module() { modprobe -d "$KERNEL" -S "$VERSION" "$@"; }
module vhci-hcd
module uvcvideo
export VIVID="modprobe -d $KERNEL -S $VERSION vivid n_devs=2 node_types=0x1,0x1 num_inputs=1,1 input_types=0,0 multiplanar=1,1 allocators=0,1"
$VIVID
# The last and u3v start udev, which the others do without.
[ $# -gt 0 ] || set -- tests/hardware/{vivid,vivid_opening,uvc,u3v,command,deploy}_suite.py
"$PYTHON" -m pytest -p no:cacheprovider -q -s --color=no --durations=8 -o timeout=120 "$@" || {
    code=$?
    dmesg | grep -E 'usb|uvc|vhci|vivid' | tail -30
    exit "$code"
}
