#!/bin/sh
# Runs before every start of nginx, in the container: nginx begins from upstreams
# that are right now, and comes up also when there is no replica yet.
#
# TVS_UPSTREAMS  "name:port ..." (webapp:8080)
# TVS_KEEPALIVE  keepalive_timeout for clients, instead of the safe choice
set -eu

dir=/etc/nginx/upstreams
probe=/tmp/tvs-probe.conf

# accepts TEXT: whether nginx takes it in http. It answers both questions here: which
# directives it knows, and whether its own resolver finds a name.
accepts() {
    printf 'user nginx; pid /tmp/tvs-probe.pid; error_log stderr; events {} http { %s }\n' "$1" >"$probe"
    nginx -t -q -c "$probe" 2>/dev/null
}

if [ -n "${TVS_KEEPALIVE:-}" ]; then
    keepalive="keepalive_timeout $TVS_KEEPALIVE;"
elif accepts 'keepalive_min_timeout 3s;'; then
    keepalive='keepalive_min_timeout 3s;'
else
    keepalive='keepalive_timeout 0;'
fi
echo "$keepalive" >/etc/nginx/keepalive.conf

# The addresses of an earlier life may be other containers' by now.
mkdir -p "$dir"
rm -f "$dir"/*.conf
for upstream in ${TVS_UPSTREAMS:-webapp:8080}; do
    name=${upstream%%:*}
    server="server $upstream;"
    # A name that does not resolve would keep nginx from starting.
    accepts "upstream $name { $server }" || server='server 127.0.0.1:9 down;'
    printf 'upstream %s {\n    %s\n}\n' "$name" "$server" >"$dir/$name.conf"
done
rm -f "$probe" /tmp/tvs-probe.pid
