# A dockerd that has nothing in common with the machine's: run in mount, process and network namespaces of its own, with
# all that it keeps in a tmpfs that ends with them, and its containers in the cgroup $1, which does not.
# Reads how many ports a container should publish, a line for each; tells how long it took to start and to remove it.
set -eu
PATH=$PATH:/usr/sbin:/sbin
mount -t tmpfs none /run
# Some versions write a key there.
[ ! -d /etc/docker ] || mount -t tmpfs none /etc/docker
root=/run/docker-run
mkdir $root $root/image
export DOCKER_HOST=unix://$root/docker.sock DOCKER_CONFIG=$root

echo '{}' >$root/daemon.json
dockerd --config-file $root/daemon.json --data-root $root/data --exec-root $root/exec --pidfile $root/pid \
    --host $DOCKER_HOST --storage-driver vfs --exec-opt native.cgroupdriver=cgroupfs --cgroup-parent "$1" >$root/log 2>&1 &
until docker version >/dev/null 2>&1; do
    kill -0 $! || { cat $root/log; exit 1; }
    sleep 0.05
done
# As from a Dockerfile that says FROM scratch and COPY, without a builder.
cp "$(command -v busybox)" $root/image/busybox
tar -C $root/image -c . | docker import - busybox-alone >/dev/null
echo ready

now() { date +%s%N; }
while read -r ports; do
    published=
    [ "$ports" = 0 ] || published="--publish 20000-$((19999 + ports)):80-$((79 + ports))"
    # shellcheck disable=SC2086 # nothing, or two words
    docker create --name web $published busybox-alone /busybox sleep 3600 >/dev/null
    begin=$(now)
    docker start web >/dev/null
    started=$(now)
    docker rm --force web >/dev/null
    removed=$(now)
    echo "$((started - begin)) $((removed - started)) ns"
done
