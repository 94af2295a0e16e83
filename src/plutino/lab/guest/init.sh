#!/busybox sh
# First program of a guest: makes its root, the host's files read-only under a tmpfs overlay.
b=/busybox
$b mount -t devtmpfs dev /dev
$b mount -t proc proc /proc
$b mount -t sysfs sys /sys
for module in $($b cat /modules/order); do $b insmod /modules/$module; done
. /job/settings

lower=/lower/root
if [ "$MACHINE" = uml ]; then
  $b mount -t hostfs -o ro none /lower/root
else
  share='-t 9p -o ro,trans=virtio,version=9p2000.L,cache=loose,msize=512000'
  $b mount $share root /lower/root
  # A mount of its own, since no layer of an overlay may lie inside another.
  $b mount $share modules /lower/modules
  lower=/lower/modules:$lower
fi
$b mount -t tmpfs -o size=90% tmpfs /top
$b mkdir /top/upper /top/work
$b mount -t overlay -o lowerdir=$lower,upperdir=/top/upper,workdir=/top/work overlay /new || exit 1

for folder in dev proc sys; do $b mount --move /$folder /new/$folder; done
$b mount -t tmpfs run /new/run
$b mkdir -p /new/run/guest /new/run/lock /new/run/netns /new/dev/pts /new/dev/shm /new/dev/net
$b mount -t devpts -o mode=620,ptmxmode=666 devpts /new/dev/pts
$b mount -t tmpfs shm /new/dev/shm
$b mount -t debugfs debug /new/sys/kernel/debug
$b ln -s /proc/self/fd /new/dev/fd
$b ln -s fd/0 /new/dev/stdin
$b ln -s fd/1 /new/dev/stdout
$b ln -s fd/2 /new/dev/stderr
$b cp /busybox /job/* /new/run/guest/
# Not chroot: the kernel loads modules by the root of its first process.
exec $b switch_root /new /run/guest/busybox sh /run/guest/stage2
