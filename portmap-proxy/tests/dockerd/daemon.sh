# A dockerd in namespaces of its own, with all that it keeps below $1 and the proxy $2 in docker-proxy's place. Its
# container serves the folder $3.
# Says what it has come to on standard output; ends when its standard input does.
set -eu
root=$1
export DOCKER_HOST=unix://$root/docker.sock

# PID and mount namespace are this script's own: /run of the machine is not to be seen, and nothing outlives it.
mount --make-rprivate /
mount -t tmpfs none /run
mkdir "$root/image"
echo '{}' >"$root/daemon.json"
dockerd --config-file "$root/daemon.json" --data-root "$root/data" --exec-root "$root/exec" \
    --pidfile "$root/pid" --host "$DOCKER_HOST" --storage-driver vfs --cgroup-parent portmap-test \
    --userland-proxy-path "$2" >"$root/log" 2>&1 &
until docker version >/dev/null 2>&1; do
    kill -0 $! || { cat "$root/log"; exit 1; }
    sleep 0.1
done
echo "dockerd is up"

cp "$(command -v busybox)" "$root/image/busybox"
printf 'FROM scratch\nCOPY busybox /bin/\nENTRYPOINT ["/bin/busybox"]\n' >"$root/image/Dockerfile"
docker build --quiet --tag busybox-alone "$root/image" >/dev/null 2>&1
echo "the image is built"

docker run --detach --name web --publish 8080:80 --publish 8081:81/udp busybox-alone sh -c "
    busybox mkdir $3 && echo hello >$3/index.html && exec busybox httpd -f -p 80 -h $3" >/dev/null
echo "published"

docker network create other >/dev/null
echo "from another bridge: $(docker run --rm --network other busybox-alone \
    wget -q -O - http://172.17.0.1:8080/index.html)"

busybox nc -l -p 9999 &
sleep 0.2
docker run --detach --publish 9999:80 busybox-alone httpd -f 2>&1 | grep 'userland proxy' || true

cat >/dev/null
docker rm --force web >/dev/null
find /sys/fs/cgroup -depth -type d -path '*/portmap-test*' -exec rmdir {} + 2>/dev/null || true
echo "removed"
pgrep -f "^$2" || echo "no proxy is left"
