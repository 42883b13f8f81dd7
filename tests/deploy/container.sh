#!/bin/sh
# Run a command as a container of an unpacked image, under `unshare --mount --pid --fork`:
#   container.sh ROOT CONFIGURATION UID COMMAND...
# Read-only root with only /tmp to write, no capability, no new privileges. The root is pivoted:
# in a mere chroot the kernel refuses user namespaces, which the sandbox needs.
set -eu
root=$1 configuration=$2 uid=$3
shift 3
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount -t tmpfs tmpfs "$root/tmp"
mount --rbind /dev "$root/dev"
mount --bind "$configuration" "$root/etc/entroute"
mount -o remount,bind,ro "$root"
cd "$root"
pivot_root . mnt
umount -l /mnt
exec setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs \
  --bounding-set=-all --inh-caps=-all -- "$@"
