#!/usr/bin/env bash
# Installs the programs that tests/interop talks to, where that is possible: as root, with apt at hand.
# Elsewhere it names what is missing; the tests then skip by the same name (or fail, with CI=true).
set -eu

declare -A package=([sipp]=sip-tester [sipsak]=sipsak [baresip]=baresip [tshark]=tshark [kamailio]=kamailio)
missing=()
for program in "${!package[@]}"; do
    command -v "$program" >/dev/null || missing+=("${package[$program]}")
done
if [ ${#missing[@]} -eq 0 ]; then
    exit 0
fi
if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "peers not installed (their tests will be skipped): ${missing[*]}"
    [ "${CI:-}" != true ]
    exit
fi

# No package may start a service: a started one takes port 5060.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy
    chmod +x $policy
    trap 'rm -f $policy' EXIT
fi
export DEBIAN_FRONTEND=noninteractive
echo "installing peers: ${missing[*]}"
apt-get update -qq
apt-get install -qq -y --no-install-recommends "${missing[@]}" >/dev/null
