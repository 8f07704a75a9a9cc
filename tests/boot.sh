#!/bin/sh
# Boots a root file system with its own systemd as PID 1, in namespaces: nothing of it is seen outside, and nothing of
# it is left when it is killed. tests/booted.py runs it.
#   boot.sh outer GROUP HOSTNAME LOWER STATE     1. a cgroup of its own    2. the root: LOWER below, memory on top
#   boot.sh inner                                3. new namespaces         4. what a container manager mounts; systemd
# LOWER is overlayfs's: folders joined by colons, the uppermost first. STATE: a folder to be /var/lib/goldline, or
# nothing. $PWD is an empty folder to mount things on.
set -eu

outer() {
    # systemd kills by cgroup, so two machines must never share one; its tree begins where it is born.
    mount -t cgroup2 none "$PWD"
    here=$PWD$(sed -n 's/^0:://p' /proc/self/cgroup)
    group=$here/$1
    forget_the_killed "$here"
    mkdir "$group"
    echo $$ >"$group/cgroup.procs"
    umount "$PWD"
    mount -t tmpfs tmpfs "$PWD" -o mode=755
    cd "$PWD"
    mkdir upper work root
    mount -t overlay overlay root -o "lowerdir=$3,upperdir=upper,workdir=work"
    if [ -n "$4" ]; then
        mkdir -p root/var/lib/goldline
        mount --bind "$4" root/var/lib/goldline
    fi
    cd root
    echo "$2" >etc/hostname
    exec unshare --pid --mount --uts --ipc --net --cgroup --fork --kill-child sh "$0" inner
}

forget_the_killed() {
    # Who makes a device removes its cgroup, whose name has its process id; one that was killed could not.
    for left in "$1"/goldline-device-*-*; do
        maker=${left#"$1"/goldline-device-}
        if [ -d "$left" ] && [ ! -d "/proc/${maker%-*}" ]; then
            find "$left" -depth -type d -exec rmdir {} + 2>/dev/null || true
        fi
    done
}

inner() {
    mount -t proc proc proc
    # The kernel is shared: what is set for all of it cannot be set from inside, what is of this network can.
    mount --bind proc/sys proc/sys
    mount --bind proc/sys/net proc/sys/net
    mount -o remount,bind,ro proc/sys
    mount -t sysfs sysfs sys -o ro
    mount -t cgroup2 cgroup2 sys/fs/cgroup
    mount -t tmpfs tmpfs run -o mode=755
    devices
    ip link set lo up
    hostname "$(cat etc/hostname)"
    pivot_root . mnt
    umount -l mnt
    # Credentials reach a service by a mount made elsewhere.
    mount --make-rshared /
    exec env -i container=unshare PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system --unit=multi-user.target
}

devices() {
    mount -t tmpfs tmpfs dev -o mode=755
    for name in null zero full random urandom tty; do
        touch "dev/$name"
        mount --bind "/dev/$name" "dev/$name"
    done
    mkdir dev/pts dev/shm
    mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666,mode=620
    ln -s pts/ptmx dev/ptmx
    mount -t tmpfs tmpfs dev/shm
    ln -s /proc/self/fd dev/fd
    touch dev/console
}

"$@"
