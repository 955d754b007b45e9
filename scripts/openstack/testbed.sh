#!/bin/bash
# A real OpenStack with two compute hosts on one machine, for as long as a command runs.
#
#   scripts/openstack/testbed.sh DIR COMMAND [ARGUMENT...]
#
# Keystone, Placement, Glance, Neutron and Nova from Debian's packages, with MariaDB and RabbitMQ; on each of the hosts
# hosta and hostb a libvirtd and a nova-compute. All of it is in namespaces of its own (network, processes, mounts) that end
# with the command, with Ctrl-C, or with this script's death: nothing stays but DIR, which holds logs (DIR/log), settings
# and the database, so that the next start is faster. COMMAND runs in there, with the variables OS_* of the administrator;
# DIR/clouds.yaml has `forestall`, a user that may do what packaging/nova/policy.yaml permits its role and nothing else.
#
#   scripts/openstack/testbed.sh --control DIR ADDRESS HOST=ADDRESS...
#
# The same without the hosts, at ADDRESS of the network that it is started in, until it is ended: `forestall lab --engine nova`
# has the hosts itself, with the settings DIR/etc/HOST.conf (nova-compute) and DIR/etc/HOST-network.conf
# (neutron-linuxbridge-agent). DIR/up is there when they may start, DIR/ready when Nova knows them all; DIR/openrc are the
# variables OS_*.
#
# Needs root and the packages that `scripts/openstack/testbed.sh --install` installs (160 MB).
# Exit codes: that of COMMAND; 3 when the testbed does not come up, or a part of the control plane ends.
set -euo pipefail

PACKAGES=(keystone placement-api glance-api nova-api nova-conductor nova-scheduler nova-compute nova-compute-kvm neutron-server
    neutron-linuxbridge-agent rabbitmq-server mariadb-server memcached uwsgi-plugin-python3 qemu-utils curl jq uuid-runtime)
CONTROL=10.77.0.1
declare -A ADDRESS=([hosta]=10.77.0.11 [hostb]=10.77.0.12)
START_WITHIN_S=180

missing() {
    for program in keystone-manage nova-manage nova-compute neutron-server neutron-linuxbridge-agent glance-api \
        mariadbd uwsgi libvirtd qemu-img jq curl; do
        command -v $program > /dev/null || { echo "$program"; return; }
    done
}

case "${1:-}" in
    --install)
        [ -n "$(missing)" ] || exit 0
        # No service of these packages is to run but here.
        echo "Installing: ${PACKAGES[*]}"
        policy=/usr/sbin/policy-rc.d
        if [ ! -e $policy ]; then
            trap 'rm -f $policy' EXIT
            printf '#!/bin/sh\nexit 101\n' > $policy
            chmod +x $policy
        fi
        apt-get update
        DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${PACKAGES[@]}"
        exit 0
        ;;
    -h | --help | "") sed -n '2,22s/^# \{0,1\}//p' "$0"; exit 0 ;;
esac
alone=no
if [ "$1" = --control ]; then
    alone=yes
    shift
    # The first process in there ends with who started this one.
    [ $$ = 1 ] || exec unshare --mount --pid --fork --kill-child --mount-proc "$BASH" "$0" --control "$@"
fi
[ $# -ge 2 ] || { echo "error: no command; see $0 --help" >&2; exit 2; }
[ "$(id -u)" = 0 ] || { echo "error: namespaces need root" >&2; exit 3; }
[ -z "$(missing)" ] || { echo "error: $(missing) is missing; $0 --install installs it" >&2; exit 3; }

if [ $$ != 1 ]; then
    mkdir -p "$1"
    DIR=$(realpath "$1")
    shift
    # Not `exec`: what is left of an interrupted COMMAND is gone when this returns.
    FORESTALL_TESTBED=$DIR unshare --net --mount --pid --fork --kill-child --mount-proc "$BASH" "$0" "$DIR" "$@"
    exit
fi

# From here on in the namespaces, as process 1 of them.
DIR=$1
shift
if [ $alone = yes ]; then
    CONTROL=$1
    shift
    ADDRESS=()
    for host; do ADDRESS[${host%%=*}]=${host#*=}; done
fi
POLICY=$(realpath "$(dirname "$0")/../../packaging/nova/policy.yaml")
cd "$DIR"
mkdir -p log etc state shared glance keystone/fernet keystone/credential rabbit

fail() {
    echo "error: $1" >&2
    [ -n "${2:-}" ] && tail -n 20 "log/$2.log" >&2
    exit 3
}
# start NAME COMMAND...: in the background, its words in log/NAME.log.
start() {
    local name=$1
    shift
    "$@" > "log/$name.log" 2>&1 < /dev/null &
}
# wait_for WHAT LOG TEST...
wait_for() {
    local what=$1 log=$2 since=$SECONDS
    shift 2
    until "$@" > /dev/null 2>&1; do
        [ $((SECONDS - since)) -lt $START_WITHIN_S ] || fail "$what is not there after $START_WITHIN_S s" "$log"
        sleep 0.3
    done
    echo "testbed: $what after $SECONDS s" >&2
}
# once STEP COMMAND...: done for this DIR only the first time.
once() {
    local step=$1
    shift
    [ -e "state/done-$step" ] && return
    "$@" >> log/once.log 2>&1 || fail "$* failed" once
    touch "state/done-$step"
}
listens() { (exec 3<> "/dev/tcp/$CONTROL/$1") 2> /dev/null; }
answers() { [ "$(curl -s -o /dev/null -w '%{http_code}' "$1")" != 000 ]; }

network() {
    ip link set lo up
    ip link add br0 type bridge
    ip address add $CONTROL/24 dev br0
    ip link set br0 up
}

names() {
    mount --make-rprivate /
    printf '127.0.0.1 localhost\n%s ctl\n' $CONTROL > etc/hosts
    for host in "${!ADDRESS[@]}"; do printf '%s %s\n' "${ADDRESS[$host]}" "$host" >> etc/hosts; done
    mount --bind etc/hosts /etc/hosts
}

# Who a service is to the others.
identity() {
    printf '%s\n' "auth_url = http://$CONTROL:5000/v3" 'auth_type = password' 'project_domain_name = Default' \
        'user_domain_name = Default' 'region_name = RegionOne' 'project_name = admin' 'username = admin' 'password = testbed'
}
database() { echo "connection = mysql+pymysql://testbed:testbed@$CONTROL/$1?charset=utf8"; }
# Root starts all of it, and nobody has to ask sudo.
privileges() { printf '[%s]\nhelper_command = privsep-helper\n' privsep "$@"; }
RABBIT="transport_url = rabbit://guest:guest@$CONTROL:5672/"

nova_settings() { # HOST ADDRESS
    cat << END
[DEFAULT]
host = $1
my_ip = $2
state_path = $DIR/state/$1
$RABBIT
enabled_apis = osapi_compute
osapi_compute_listen = $CONTROL
osapi_compute_workers = 1
use_stderr = true
report_interval = 5
service_down_time = 30
instances_path = /var/lib/nova/instances
rpc_response_timeout = 60
[api]
auth_strategy = keystone
[conductor]
workers = 1
[scheduler]
workers = 1
[wsgi]
api_paste_config = /etc/nova/api-paste.ini
[vnc]
enabled = false
[glance]
api_servers = http://$CONTROL:9292
[placement]
$(identity)
[neutron]
$(identity)
endpoint_override = http://$CONTROL:9696
[keystone_authtoken]
www_authenticate_uri = http://$CONTROL:5000/v3
$(identity)
[oslo_concurrency]
lock_path = $DIR/state/$1
[oslo_policy]
policy_file = $POLICY
enforce_new_defaults = true
enforce_scope = true
END
}

settings() {
    { nova_settings ctl $CONTROL; echo "[api_database]"; database nova_api; echo "[database]"; database nova; } > etc/nova.conf
    for host in "${!ADDRESS[@]}"; do
        {
            nova_settings "$host" "${ADDRESS[$host]}" | sed 's/^\[DEFAULT\]$/&\ncompute_driver = libvirt.LibvirtDriver/'
            cat << END
[libvirt]
virt_type = qemu
cpu_mode = none
connection_uri = qemu:///system
live_migration_uri = qemu+tcp://%s/system
live_migration_inbound_addr = ${ADDRESS[$host]}
live_migration_permit_post_copy = true
# MiB/s: slow enough that a test can come in between.
live_migration_bandwidth = 1
images_type = qcow2
$(privileges nova_sys_admin vif_plug_linux_bridge_privileged)
[workarounds]
disable_deep_image_inspection = true
END
        } > "etc/$host.conf"
        cat > "etc/$host-network.conf" << END
[DEFAULT]
host = $host
$RABBIT
state_path = $DIR/state/$host
use_stderr = true
[experimental]
linuxbridge = true
[oslo_concurrency]
lock_path = $DIR/state/$host
[vxlan]
enable_vxlan = false
[securitygroup]
enable_security_group = false
firewall_driver = noop
[agent]
root_helper = env
polling_interval = 1
$(privileges privsep_link privsep_namespace)
END
    done
    cat > etc/keystone.conf << END
[DEFAULT]
use_stderr = true
[database]
$(database keystone)
[token]
provider = fernet
[fernet_tokens]
key_repository = $DIR/keystone/fernet
[credential]
key_repository = $DIR/keystone/credential
END
    cat > etc/placement.conf << END
[placement_database]
$(database placement)
[api]
auth_strategy = keystone
[keystone_authtoken]
www_authenticate_uri = http://$CONTROL:5000/v3
$(identity)
END
    cat > etc/glance.conf << END
[DEFAULT]
bind_host = $CONTROL
bind_port = 9292
workers = 0
use_stderr = true
enabled_backends = files:file
[database]
$(database glance)
[glance_store]
default_backend = files
[files]
filesystem_store_datadir = $DIR/glance
[os_glance_staging_store]
filesystem_store_datadir = $DIR/state/glance-staging
[os_glance_tasks_store]
filesystem_store_datadir = $DIR/state/glance-tasks
[paste_deploy]
flavor = keystone
config_file = /etc/glance/glance-api-paste.ini
[keystone_authtoken]
www_authenticate_uri = http://$CONTROL:5000/v3
$(identity)
END
    cat > etc/neutron.conf << END
[DEFAULT]
bind_host = $CONTROL
bind_port = 9696
core_plugin = ml2
service_plugins =
$RABBIT
api_workers = 0
rpc_workers = 0
rpc_state_report_workers = 0
state_path = $DIR/state/neutron
use_stderr = true
api_paste_config = /etc/neutron/api-paste.ini
dhcp_agent_notification = false
[oslo_concurrency]
lock_path = $DIR/state/neutron
[database]
$(database neutron)
[nova]
$(identity)
[keystone_authtoken]
www_authenticate_uri = http://$CONTROL:5000/v3
$(identity)
[ml2]
type_drivers = flat,vxlan
tenant_network_types = vxlan
mechanism_drivers = linuxbridge
extension_drivers = port_security
[experimental]
linuxbridge = true
[securitygroup]
enable_security_group = false
END
    cat > etc/rabbitmq.conf << END
listeners.tcp.1 = $CONTROL:5672
loopback_users = none
vm_memory_high_watermark.absolute = 512MB
disk_free_limit.absolute = 50MB
log.console = true
log.console.level = warning
log.file = false
END
}

databases() {
    once database mariadb-install-db --user=root --datadir="$DIR/db" --auth-root-authentication-method=normal --skip-test-db
    start mariadb mariadbd --no-defaults --user=root --datadir="$DIR/db" --socket="$DIR/db/socket" --pid-file="$DIR/db/pid" \
        --bind-address=$CONTROL --port=3306 --innodb-buffer-pool-size=128M --innodb-flush-log-at-trx-commit=0 \
        --max-connections=400 --skip-name-resolve
    RABBITMQ_NODENAME=rabbit@localhost RABBITMQ_MNESIA_BASE=$DIR/rabbit/mnesia RABBITMQ_LOG_BASE=$DIR/rabbit/log \
        RABBITMQ_CONFIG_FILE=$DIR/etc/rabbitmq RABBITMQ_ENABLED_PLUGINS_FILE=$DIR/rabbit/plugins \
        RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS="+S 1:1 +sbwt none" HOME=$DIR/rabbit \
        start rabbit /usr/lib/rabbitmq/bin/rabbitmq-server
    wait_for "the database" mariadb mysqladmin --no-defaults --socket db/socket --user root ping
    for name in keystone placement glance nova_api nova nova_cell0 neutron; do
        echo "CREATE DATABASE IF NOT EXISTS $name CHARACTER SET utf8; GRANT ALL ON $name.* TO 'testbed'@'%' IDENTIFIED BY 'testbed';"
    done | mysql --no-defaults --socket db/socket --user root
    wait_for "RabbitMQ" rabbit listens 5672
}

schemas() {
    local keystone=(--config-file etc/keystone.conf) nova=(--config-file etc/nova.conf) url=http://$CONTROL:5000/v3/
    once keystone-keys keystone-manage "${keystone[@]}" fernet_setup --keystone-user root --keystone-group root
    once keystone keystone-manage "${keystone[@]}" db_sync
    once keystone-admin keystone-manage "${keystone[@]}" bootstrap --bootstrap-password testbed --bootstrap-region-id RegionOne \
        --bootstrap-public-url $url --bootstrap-internal-url $url --bootstrap-admin-url $url
    once placement env OS_PLACEMENT_CONFIG_DIR="$DIR/etc" placement-manage --config-file etc/placement.conf db sync
    once glance glance-manage --config-file etc/glance.conf db_sync
    once neutron neutron-db-manage --config-file etc/neutron.conf upgrade heads
    once nova-api nova-manage "${nova[@]}" api_db sync
    once nova-cell0 nova-manage "${nova[@]}" cell_v2 map_cell0 \
        --database_connection "mysql+pymysql://testbed:testbed@$CONTROL/nova_cell0?charset=utf8"
    once nova nova-manage "${nova[@]}" db sync
    once nova-cell1 nova-manage "${nova[@]}" cell_v2 create_cell --name cell1
}

# wsgi NAME PORT FILE: without "Connection: close" a client that keeps its connection finds it closed.
wsgi() {
    start "$1" uwsgi --plugin python3 --http-socket "$CONTROL:$2" --wsgi-file "$3" --master --die-on-term --processes 1 \
        --threads 4 --enable-threads --lazy-apps --disable-logging --buffer-size 65535 --add-header "Connection: close" \
        ${4:+--pyargv "$4"}
}

administrators_token() {
    local body
    body='{"auth":{"identity":{"methods":["password"],"password":{"user":{"name":"admin","domain":{"name":"Default"},"password":"testbed"}}},
        "scope":{"project":{"name":"admin","domain":{"name":"Default"}}}}}'
    curl -sS -D - -o /dev/null -H 'Content-Type: application/json' -d "$body" http://$CONTROL:5000/v3/auth/tokens |
        sed -n 's/^[Xx]-[Ss]ubject-[Tt]oken: //p' | tr -d '\r'
}

catalogue() {
    local keystone=http://$CONTROL:5000/v3 token
    token=$(administrators_token)
    while read -r name kind url; do
        local id
        id=$(curl -sSf -H "X-Auth-Token: $token" -H 'Content-Type: application/json' \
            -d "{\"service\":{\"name\":\"$name\",\"type\":\"$kind\"}}" $keystone/services | jq -r .service.id)
        for interface in public internal; do
            curl -sSf -o /dev/null -H "X-Auth-Token: $token" -H 'Content-Type: application/json' \
                -d "{\"endpoint\":{\"service_id\":\"$id\",\"interface\":\"$interface\",\"url\":\"$url\",\"region_id\":\"RegionOne\"}}" \
                $keystone/endpoints
        done
    done << END
nova compute http://$CONTROL:8774/v2.1
placement placement http://$CONTROL:8778
glance image http://$CONTROL:9292
neutron network http://$CONTROL:9696
END
}

# Whom the driver comes as: a user with one role, which is named in no policy but packaging/nova/policy.yaml.
mover() {
    local keystone=http://$CONTROL:5000/v3 ask project role user
    ask=(curl -sSf -H "X-Auth-Token: $(administrators_token)" -H 'Content-Type: application/json')
    project=$("${ask[@]}" "$keystone/projects?name=admin" | jq -er '.projects[0].id') &&
        role=$("${ask[@]}" -d '{"role":{"name":"forestall"}}' $keystone/roles | jq -er .role.id) &&
        user=$("${ask[@]}" -d '{"user":{"name":"forestall","password":"testbed","domain_id":"default"}}' $keystone/users | jq -er .user.id) &&
        "${ask[@]}" -X PUT "$keystone/projects/$project/users/$user/roles/$role" &&
        cat > clouds.yaml << END
clouds:
  forestall:
    auth:
      auth_url: $keystone
      username: forestall
      password: testbed
      project_name: admin
      user_domain_name: Default
      project_domain_name: Default
    region_name: RegionOne
END
}

control_plane() {
    OS_KEYSTONE_CONFIG_FILES=$DIR/etc/keystone.conf wsgi keystone 5000 /usr/bin/keystone-wsgi-public \
        "--config-file $DIR/etc/keystone.conf"
    OS_PLACEMENT_CONFIG_DIR=$DIR/etc wsgi placement 8778 /usr/bin/placement-api
    wait_for Keystone keystone answers http://$CONTROL:5000/v3
    wait_for Placement placement answers http://$CONTROL:8778/
    once catalogue catalogue
    once mover mover
    start glance glance-api --config-file etc/glance.conf
    start neutron neutron-server --config-file etc/neutron.conf
    for part in api conductor scheduler; do start "nova-$part" nova-$part --config-file etc/nova.conf; done
    wait_for Glance glance answers http://$CONTROL:9292/versions
    wait_for Neutron neutron answers http://$CONTROL:9696/
    wait_for Nova nova-api answers http://$CONTROL:8774/
}

# What a host has of its own, before its programs start: a name, an address, libvirt's folders, disks.
HOST='
set -e
hostname "$HOST"
mkdir -p run etc lib cache instances
cp -a /etc/libvirt/. etc/
uuid=$(uuidgen)
printf "listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\nauth_unix_rw = \"none\"\nauth_unix_ro = \"none\"\nhost_uuid = \"%s\"\n" "$uuid" > etc/libvirtd.conf
printf "user = \"root\"\ngroup = \"root\"\ndynamic_ownership = 0\nremember_owner = 0\nsecurity_driver = \"none\"\ncgroup_controllers = []\nnamespaces = []\nstdio_handler = \"file\"\n" > etc/qemu.conf
mkdir -p /var/lib/nova/instances
mount --bind etc /etc/libvirt
mount --bind lib /var/lib/libvirt
mount --bind cache /var/cache/libvirt
mount --bind instances /var/lib/nova/instances
mount -t tmpfs tmpfs /run
mkdir -p /run/lock /run/libvirt
uuidgen | tr -d - > machine-id
mount --bind machine-id /etc/machine-id
touch ready
exec sleep infinity
'

compute_host() { # NAME
    local host=$1 keeper
    mkdir -p "$host"
    rm -f "$host/ready"
    (cd "$host" && HOST=$host exec unshare --net --mount --uts bash -c "$HOST") > "log/$host.log" 2>&1 < /dev/null &
    keeper=$!
    wait_for "host $host" "$host" test -e "$host/ready"
    ip link add "v-$host" type veth peer name eth0 netns "$keeper"
    ip link set "v-$host" master br0 up
    local in=(nsenter -t "$keeper" --net --mount --uts --wd="$DIR")
    "${in[@]}" sh -c "ip link set lo up; ip address add ${ADDRESS[$host]}/24 dev eth0; ip link set eth0 up; ip route add default via $CONTROL"
    start "libvirtd-$host" "${in[@]}" libvirtd --listen
    wait_for "libvirtd on $host" "libvirtd-$host" "${in[@]}" virsh -q version
    start "nova-compute-$host" "${in[@]}" nova-compute --config-file "etc/$host.conf"
}

hosts_known() {
    local known host
    nova-manage --config-file etc/nova.conf cell_v2 discover_hosts
    known=$(nova-manage --config-file etc/nova.conf cell_v2 list_hosts)
    for host in "${!ADDRESS[@]}"; do grep -qF " $host " <<< "$known" || return; done
}

[ $alone = yes ] || network
names
settings
databases
schemas
[ $alone = yes ] || for host in "${!ADDRESS[@]}"; do compute_host "$host"; done
control_plane
cat > openrc << END
export OS_AUTH_URL=http://$CONTROL:5000/v3 OS_USERNAME=admin OS_PASSWORD=testbed OS_PROJECT_NAME=admin
export OS_USER_DOMAIN_NAME=Default OS_PROJECT_DOMAIN_NAME=Default OS_REGION_NAME=RegionOne
END
touch up
host=$(printf '%s\n' "${!ADDRESS[@]}" | head -n 1)
wait_for "all compute hosts" "nova-compute-$host" hosts_known
if [ $alone = yes ]; then
    touch ready
    wait -n || true
    fail "a part of the control plane has ended"
fi
. ./openrc
cd "$OLDPWD"
"$@"
