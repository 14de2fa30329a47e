#!/bin/bash
# Apache Kafka for tests: 1 or 3 brokers (KRaft, each one a controller too) on free ports of this
# machine's loopback, with all they write in one directory.
#
#   kafka.sh start DIR [BROKERS]   starts them, waits until they answer, prints the bootstrap servers
#   kafka.sh stop DIR              ends them
#   kafka.sh kill-broker DIR N     ends broker N (from 1) without a warning
#   kafka.sh stop-broker DIR N     ends broker N in order
#   kafka.sh start-broker DIR N    starts it again on the same port and data
#   kafka.sh pid DIR N             prints its process id
#   kafka.sh tool DIR CLASS ARGS…  runs a program of Kafka's
#   kafka.sh fetch                 only fetches the jars
#
# With KAFKA_SCRAM=user:password clients must log in by SCRAM-SHA-512 (one broker only).
#
# The brokers end with the process that KAFKA_WATCH_PID names, however it ends; without it they run
# until they are stopped. Needs Java 17 or newer and Maven, which fetches the jars once.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
jars=${KAFKA_JARS:-$here/../.cache/kafka}
heap=${KAFKA_HEAP:-384m}

fail() {
    echo "kafka.sh: $*" >&2
    exit 1
}

java_program() {
    local java=${JAVA_HOME:+$JAVA_HOME/bin/}java version
    command -v "$java" >/dev/null || fail "no Java found; Kafka needs Java 17 or newer"
    version=$("$java" -version 2>&1 | sed -n 's/.* version "\([0-9]*\).*/\1/p' | head -n 1)
    [ "${version:-0}" -ge 17 ] || fail "Java ${version:-?} is too old; Kafka needs 17 or newer"
    echo "$java"
}

fetch() {
    # Named after the pom's content, so that another version is fetched anew.
    local wanted
    wanted=$jars/$(cksum <"$here/kafka/pom.xml" | cut -d ' ' -f 1)
    if [ ! -d "$wanted" ]; then
        command -v mvn >/dev/null || fail "no Maven (mvn) found to fetch Kafka's jars with"
        mkdir -p "$jars"
        local partial
        partial=$(mktemp -d "$jars/partial.XXXXXX")
        mvn -q -B -f "$here/kafka/pom.xml" dependency:copy-dependencies \
            -DoutputDirectory="$partial" >&2 || fail "Kafka's jars could not be fetched"
        # Another run may have been faster.
        mv -T "$partial" "$wanted" 2>/dev/null || rm -rf "$partial"
    fi
    echo "$wanted"
}

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

free_ports() {
    local count=$1 port found=()
    for _ in $(seq 1000); do
        # Below the range that outgoing connections take their ports from.
        port=$((10000 + (RANDOM * 32768 + RANDOM) % 20000))
        [[ " ${found[*]:-} " == *" $port "* ]] && continue
        answers "$port" || found+=("$port")
        [ "${#found[@]}" -eq "$count" ] && break
    done
    [ "${#found[@]}" -eq "$count" ] || fail "no free ports"
    echo "${found[@]}"
}

configure() {
    local dir=$1 brokers=$2 ports=($3) n voters= in_sync=1
    [ "$brokers" -lt 3 ] || in_sync=2
    for n in $(seq "$brokers"); do
        voters+=${voters:+,}$n@127.0.0.1:${ports[$((n + brokers - 1))]}
    done
    for n in $(seq "$brokers"); do
        local client=${ports[$((n - 1))]} controller=${ports[$((n + brokers - 1))]}
        mkdir -p "$dir/$n"
        echo "$client" >"$dir/$n/port"
        cat >"$dir/$n/server.properties" <<-PROPERTIES
			process.roles=broker,controller
			node.id=$n
			controller.quorum.voters=$voters
			listeners=PLAINTEXT://127.0.0.1:$client,CONTROLLER://127.0.0.1:$controller
			advertised.listeners=PLAINTEXT://127.0.0.1:$client
			inter.broker.listener.name=PLAINTEXT
			controller.listener.names=CONTROLLER
			listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
			log.dirs=$dir/$n/data
			num.network.threads=2
			num.io.threads=4
			background.threads=2
			auto.create.topics.enable=false
			num.partitions=1
			default.replication.factor=$brokers
			offsets.topic.num.partitions=1
			offsets.topic.replication.factor=$brokers
			transaction.state.log.num.partitions=1
			transaction.state.log.replication.factor=$brokers
			transaction.state.log.min.isr=$in_sync
			share.coordinator.state.topic.num.partitions=1
			share.coordinator.state.topic.replication.factor=$brokers
			share.coordinator.state.topic.min.isr=$in_sync
			group.initial.rebalance.delay.ms=0
			group.min.session.timeout.ms=1000
			broker.session.timeout.ms=3000
			broker.heartbeat.interval.ms=500
			controller.quorum.fetch.timeout.ms=1500
			controller.quorum.election.timeout.ms=500
			controller.quorum.election.backoff.max.ms=500
			controlled.shutdown.enable=true
			log.cleaner.dedupe.buffer.size=4194304
			log.cleaner.threads=1
			log.cleaner.backoff.ms=1000
		PROPERTIES
        [ -z "${KAFKA_SCRAM:-}" ] || demand_password "$dir/$n/server.properties" "$client"
    done
}

# Clients log in; the broker speaks to itself on a port of its own.
demand_password() {
    local file=$1 client=$2 internal
    internal=$(free_ports 1)
    sed -i -e "s/^listeners=PLAINTEXT:[^,]*/listeners=CLIENT:\/\/127.0.0.1:$client,PLAINTEXT:\/\/127.0.0.1:$internal/" \
        -e "s/^advertised.listeners=.*/advertised.listeners=CLIENT:\/\/127.0.0.1:$client,PLAINTEXT:\/\/127.0.0.1:$internal/" \
        -e "s/^listener.security.protocol.map=/&CLIENT:SASL_PLAINTEXT,/" "$file"
    cat >>"$file" <<-PROPERTIES
		sasl.enabled.mechanisms=SCRAM-SHA-512
		listener.name.client.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
	PROPERTIES
}

run_broker() {
    local dir=$1 n=$2 java lib
    [ -f "$dir/$n/server.properties" ] || fail "$dir has no broker $n"
    java=$(java_program)
    lib=$(fetch)
    # In a session of its own: a signal to the tests' group must not reach it before the watcher.
    setsid "$java" -Xmx"$heap" -Xms64m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$lib/*" \
        kafka.Kafka "$dir/$n/server.properties" >>"$dir/$n/out" 2>&1 </dev/null &
    echo $! >"$dir/$n/pid"
}

pid_of() {
    [ -f "$1/$2/pid" ] || fail "$1 has no broker $2"
    cat "$1/$2/pid"
}

await_broker() {
    local dir=$1 n=$2 pid
    pid=$(pid_of "$dir" "$n")
    for _ in $(seq 300); do
        answers "$(cat "$dir/$n/port")" && return
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.2
    done
    tail -n 30 "$dir/$n/out" >&2
    fail "broker $n did not start"
}

end_broker() {
    local dir=$1 n=$2 signal=$3 pid
    pid=$(pid_of "$dir" "$n")
    kill "-$signal" "$pid" 2>/dev/null || return 0
    for _ in $(seq 150); do
        kill -0 "$pid" 2>/dev/null || return 0
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
}

tool() {
    local java lib
    java=$(java_program)
    lib=$(fetch)
    # Quick to start, unless it is to be quick for long.
    # shellcheck disable=SC2086
    "$java" ${KAFKA_TOOL_JVM:--Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1} \
        -Dorg.slf4j.simpleLogger.defaultLogLevel=error -cp "$lib/*" "$@"
}

start() {
    local dir=$1 brokers=${2:-1} n cluster servers=
    [ "$brokers" = 1 ] || [ "$brokers" = 3 ] || fail "1 or 3 brokers, not $brokers"
    mkdir -p "$dir"
    dir=$(cd "$dir" && pwd)
    [ ! -e "$dir/1" ] || fail "$dir is in use"
    configure "$dir" "$brokers" "$(free_ports $((brokers * 2)))"
    cluster=$(head -c 16 /dev/urandom | base64 | tr '+/' 'AB' | tr -d '=')
    local accounts=()
    if [ -n "${KAFKA_SCRAM:-}" ]; then
        [ "$brokers" = 1 ] || fail "only one broker can ask for passwords"
        accounts=(--add-scram "SCRAM-SHA-512=[name=${KAFKA_SCRAM%%:*},password=${KAFKA_SCRAM#*:}]")
    fi
    for n in $(seq "$brokers"); do
        tool kafka.tools.StorageTool format -t "$cluster" -c "$dir/$n/server.properties" \
            ${accounts[@]+"${accounts[@]}"} \
            >"$dir/$n/out" 2>&1 || { cat "$dir/$n/out" >&2; fail "broker $n was not formatted"; }
    done
    for n in $(seq "$brokers"); do run_broker "$dir" "$n"; done
    if [ -n "${KAFKA_WATCH_PID:-}" ]; then
        setsid "${BASH_SOURCE[0]}" watch "$dir" "$KAFKA_WATCH_PID" >/dev/null 2>&1 </dev/null &
    fi
    for n in $(seq "$brokers"); do
        await_broker "$dir" "$n"
        servers+=${servers:+,}127.0.0.1:$(cat "$dir/$n/port")
    done
    echo "$servers"
}

# Ends the brokers once a process is gone, or their directory.
watch() {
    local dir=$1 watched=$2 pids=
    while kill -0 "$watched" 2>/dev/null && [ -d "$dir" ]; do
        pids=$(cat "$dir"/[0-9]*/pid 2>/dev/null || true) || true
        sleep 0.5
    done
    pids=$(cat "$dir"/[0-9]*/pid 2>/dev/null || echo "$pids")
    for pid in $pids; do
        # Only what is still a broker of this directory: numbers are used again.
        if tr '\0' ' ' <"/proc/$pid/cmdline" 2>/dev/null | grep -qF "$dir/"; then
            kill -KILL "$pid" 2>/dev/null || true
        fi
    done
}

stop() {
    local dir=$1 n
    for n in "$dir"/[0-9]*; do
        # What they wrote is thrown away, so there is nothing to end in order.
        [ ! -f "$n/pid" ] || end_broker "$dir" "$(basename "$n")" KILL
    done
}

command=${1:-}
[ $# -gt 0 ] && shift
case $command in
    start) start "$@" ;;
    stop) stop "$@" ;;
    kill-broker) end_broker "$1" "$2" KILL ;;
    stop-broker) end_broker "$1" "$2" TERM ;;
    start-broker) run_broker "$1" "$2"; await_broker "$1" "$2" ;;
    pid) pid_of "$1" "$2" ;;
    tool) shift; tool "$@" ;;
    fetch) fetch ;;
    watch) watch "$@" ;;
    *) sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//;p}' "${BASH_SOURCE[0]}" >&2; exit 2 ;;
esac
