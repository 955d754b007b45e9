#!/bin/bash
# Lays a service function out in an OpenStack cloud, as a Heat template would: three images in Glance, a flavor, a provider
# network with a port in Neutron, and a server with the tag by which `forestall orchestrate` finds it. All of them are called NAME.
#
#   scripts/openstack/service.sh lay-out NAME KERNEL INITRAMFS ROOT WORDS MEMORY_MIB NETWORK ADDRESS MAC
#       images of the files KERNEL, INITRAMFS and ROOT (the kernel is told WORDS), a flavor of MEMORY_MIB, and a port of
#       ADDRESS and MAC on the flat network NETWORK (as in 10.10.0.0/24); prints the network's id
#   scripts/openstack/service.sh ready HOST...       waits until Nova and Neutron have these hosts
#   scripts/openstack/service.sh boot NAME HOST      has a server run on HOST; prints its id
#   scripts/openstack/service.sh end NAME            deletes it, and waits until it is gone
#
# The cloud and an administrator of it come by the variables OS_* of OpenStack's own clients. Neutron has to know NETWORK as
# the physical network `lab`. Needs curl and jq.
set -euo pipefail

WITHIN_S=120

fail() {
    echo "error: $1" >&2
    exit 1
}

# The token, and where the services are.
login() {
    local body answer catalogue
    body=$(jq -n '{auth: {
        identity: {methods: ["password"], password: {user: {
            name: env.OS_USERNAME, password: env.OS_PASSWORD, domain: {name: env.OS_USER_DOMAIN_NAME}}}},
        scope: {project: {name: env.OS_PROJECT_NAME, domain: {name: env.OS_PROJECT_DOMAIN_NAME}}}}}')
    answer=$(curl -sS --fail-with-body -w '\n%header{x-subject-token}' -H 'Content-Type: application/json' -d "$body" \
        "$OS_AUTH_URL/auth/tokens") || fail "Keystone: $answer"
    TOKEN=${answer##*$'\n'}
    catalogue=${answer%$'\n'*}
    of() {
        jq -er --arg type "$1" '.token.catalog[] | select(.type == $type).endpoints[] | select(.interface == "public").url' \
            <<< "$catalogue" || fail "the cloud has no $1"
    }
    COMPUTE=$(of compute)
    IMAGE=$(of image)/v2
    NETWORKS=$(of network)/v2.0
}

# ask METHOD URL [BODY]
ask() {
    local said
    said=$(curl -sS --fail-with-body -X "$1" -H "X-Auth-Token: $TOKEN" -H 'Content-Type: application/json' \
        -H 'OpenStack-API-Version: compute 2.84' ${3:+--data "$3"} "$2") || fail "$1 $2: $said"
    printf '%s' "$said"
}

# image NAME FORMAT CONTAINER FILE MORE: prints its id.
image() {
    local body id said
    body=$(jq -n --arg name "$1" --arg format "$2" --arg container "$3" --argjson more "$5" \
        '{name: $name, disk_format: $format, container_format: $container} + $more')
    id=$(ask POST "$IMAGE/images" "$body" | jq -er .id)
    said=$(curl -sS --fail-with-body -H "X-Auth-Token: $TOKEN" -H 'Content-Type: application/octet-stream' -H 'Expect:' \
        -T "$4" "$IMAGE/images/$id/file") || fail "upload of $4: $said"
    echo "$id"
}

lay_out() { # NAME KERNEL INITRAMFS ROOT WORDS MEMORY_MIB NETWORK ADDRESS MAC
    local name=$1 kernel initramfs network body
    kernel=$(image "$name-kernel" aki aki "$2" '{}')
    initramfs=$(image "$name-initramfs" ari ari "$3" '{}')
    body=$(jq -n --arg kernel "$kernel" --arg initramfs "$initramfs" --arg words "$5" \
        '{kernel_id: $kernel, ramdisk_id: $initramfs, os_command_line: $words}')
    image "$name" raw bare "$4" "$body" > /dev/null
    body=$(jq -n --arg name "$name" --argjson memory "$6" '{flavor: {name: $name, id: $name, ram: $memory, vcpus: 1, disk: 0}}')
    ask POST "$COMPUTE/flavors" "$body" > /dev/null
    # The guest has its address from elsewhere, and sends as it likes: nobody gives it one, and nobody filters.
    body=$(jq -n --arg name "$name" '{network: {name: $name, port_security_enabled: false,
        "provider:network_type": "flat", "provider:physical_network": "lab"}}')
    network=$(ask POST "$NETWORKS/networks" "$body" | jq -er .network.id)
    body=$(jq -n --arg name "$name" --arg network "$network" --arg cidr "$7" \
        '{subnet: {name: $name, network_id: $network, cidr: $cidr, ip_version: 4, enable_dhcp: false, gateway_ip: null}}')
    ask POST "$NETWORKS/subnets" "$body" > /dev/null
    body=$(jq -n --arg name "$name" --arg network "$network" --arg address "$8" --arg mac "$9" \
        '{port: {name: $name, network_id: $network, mac_address: $mac, fixed_ips: [{ip_address: $address}]}}')
    ask POST "$NETWORKS/ports" "$body" > /dev/null
    echo "$network"
}

ready() { # HOST...
    local host
    for host; do
        until [ "$(ask GET "$COMPUTE/os-services?binary=nova-compute&host=$host" | jq -r '.services[0].state')" = up ] &&
            [ "$(ask GET "$NETWORKS/agents?binary=neutron-linuxbridge-agent&host=$host" | jq -r '.agents[0].alive')" = true ]; do
            [ $SECONDS -lt $WITHIN_S ] || fail "Nova or Neutron does not have $host after $WITHIN_S s"
            sleep 0.5
        done
    done
}

boot() { # NAME HOST
    local image port body id server
    image=$(ask GET "$IMAGE/images?name=$1" | jq -er '.images[0].id')
    port=$(ask GET "$NETWORKS/ports?name=$1" | jq -er '.ports[0].id')
    body=$(jq -n --arg name "$1" --arg host "$2" --arg image "$image" --arg port "$port" '{server: {
        name: $name, imageRef: $image, flavorRef: $name, networks: [{port: $port}],
        availability_zone: "nova:\($host)", metadata: {forestall: "function"}}}')
    id=$(ask POST "$COMPUTE/servers" "$body" | jq -er .server.id)
    while true; do
        server=$(ask GET "$COMPUTE/servers/$id")
        case $(jq -r .server.status <<< "$server") in
            ACTIVE) echo "$id"; return ;;
            ERROR) fail "server $id: $(jq -c .server.fault <<< "$server")" ;;
        esac
        [ $SECONDS -lt $WITHIN_S ] || fail "server $id is not active after $WITHIN_S s: $server"
        sleep 0.2
    done
}

ids() { ask GET "$COMPUTE/servers?name=%5E$1%24" | jq -r '.servers[].id'; }

end() { # NAME
    local id
    for id in $(ids "$1"); do ask DELETE "$COMPUTE/servers/$id" > /dev/null; done
    while [ -n "$(ids "$1")" ]; do
        [ $SECONDS -lt $WITHIN_S ] || fail "$1 is not deleted after $WITHIN_S s"
        sleep 0.2
    done
}

task=${1:-}
[ $# = 0 ] || shift
case "$task $#" in
    "lay-out 9") login; lay_out "$@" ;;
    "ready "[1-9]*) login; ready "$@" ;;
    "boot 2") login; boot "$@" ;;
    "end 1") login; end "$1" ;;
    *) sed -n '2,14s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
