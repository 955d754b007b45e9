# A systemd as process 1 of namespaces of its own, which starts the packaged unit as it is, in the sandbox that it asks for.
#
#   sandbox.sh groups DIR NAME PROGRAM LOG    in a mount namespace; goes on with `inside`
#   sandbox.sh inside DIR NAME PROGRAM LOG
#   sandbox.sh clear DIR NAME                 in a mount namespace: what is left when it has ended
#
# In DIR are `package` (what the package brings), `etc` (a configuration and its secrets) and `ssh` (keys). The machine's own /etc,
# /usr/bin and /var/lib lie below what is written here. systemd has a control group NAME of its own, and no units but these.
set -e
dir=$2 name=$3 program=$4 log=$5

groups() { # the control groups of version 2, whichever the machine uses
    mkdir -p "$dir/groups"
    mount -t cgroup2 cgroup2 "$dir/groups"
}

case $1 in
    groups)
        mount --make-rprivate /
        groups
        mkdir "$dir/groups/$name"
        echo $$ > "$dir/groups/$name/cgroup.procs"
        exec unshare --cgroup --mount --uts --ipc --pid --fork --kill-child --mount-proc sh "$0" inside "$dir" "$name" "$program" "$log"
        ;;
    clear)
        mount --make-rprivate /
        groups
        find "$dir/groups/$name" -depth -type d -exec rmdir {} ';'
        exit
        ;;
esac

# What is not systemd's business: it would change them for the whole machine.
mount --bind /proc/sys /proc/sys
mount -o remount,bind,ro /proc/sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup

layers=$dir/layers
mkdir "$layers"
mount -t tmpfs -o mode=755 tmpfs "$layers"
for folder in etc usr/bin var/lib; do
    mkdir -p "$layers/upper/$folder" "$layers/work/$folder"
    mount -t overlay -o "lowerdir=/$folder,upperdir=$layers/upper/$folder,workdir=$layers/work/$folder" overlay "/$folder"
done
mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
# Not the machine's console, nor its kernel's log.
mkdir "$layers/dev"
(cd /dev && cp -a null zero full random urandom tty "$layers/dev")
mkdir "$layers/dev/pts" "$layers/dev/shm"
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts "$layers/dev/pts"
ln -s pts/ptmx "$layers/dev/ptmx"
mount --rbind "$layers/dev" /dev

# What happens when the package is installed.
touch /usr/bin/forestall
mount --bind "$program" /usr/bin/forestall
systemd-sysusers "$dir/package/forestall.conf"
systemd-tmpfiles --create "$dir/package/forestall-files.conf"
# What the operator does then.
install -m 644 "$dir/etc/forestall.toml" /etc/forestall/
install -m 600 -o forestall "$dir/etc/community" /etc/forestall/
install -d -m 700 -o forestall -g forestall /var/lib/forestall/.ssh
install -m 600 -o forestall -g forestall "$dir/ssh/id_ed25519" "$dir/ssh/known_hosts" /var/lib/forestall/.ssh/

# Of the targets that every service waits for there is nothing to wait for.
for target in sysinit basic network-online time-sync shutdown; do
    printf '[Unit]\nDefaultDependencies=no\n' > "$dir/package/$target.target"
done
# There is no journald. What the service says is read by the test.
mkdir "$dir/package/forestall-orchestrator.service.d"
printf '[Service]\nStandardOutput=append:%s\nStandardError=append:%s\n' "$log" "$log" \
    > "$dir/package/forestall-orchestrator.service.d/log.conf"
mkdir "$dir/none"
exec env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin container=forestall SYSTEMD_UNIT_PATH="$dir/package" \
    SYSTEMD_GENERATOR_PATH="$dir/none" /lib/systemd/systemd --system --unit=forestall-orchestrator.service
