#!/usr/bin/env bash
# Five load tests with ApacheBench against a running gateway; exits with 1 when one of them fails.
#
#   GATEWAY_URL=http://127.0.0.1:8000 GATEWAY_KEY=gw_... tests/load-test.sh
#
# GATEWAY_URL    the gateway's address (http://127.0.0.1:8000)
# GATEWAY_KEY    a key that has not been used in the last minute; without it the rate limit is tested by address
# LIMITED_PATH   a path with a limit of 100/m (/api/v1/slackIntelligence/channels)
# LOAD_PATH      a path without a limit, for the last two tests (/health)
# LOAD_SECONDS   how long the sustained load lasts (30)
set -euo pipefail

url=${GATEWAY_URL:-http://127.0.0.1:8000}
url=${url%/}
key=${GATEWAY_KEY:-}
limited=${LIMITED_PATH:-/api/v1/slackIntelligence/channels}
load=${LOAD_PATH:-/health}
seconds=${LOAD_SECONDS:-30}
failed=0

die() {
    echo "load-test: $1" >&2
    exit 2
}

command -v ab >/dev/null || die "ab is missing; it comes with ApacheBench: apt-get install apache2-utils"
command -v curl >/dev/null || die "curl is missing: apt-get install curl"
curl -s -o /dev/null --max-time 10 "$url/health" || die "no response from $url; set GATEWAY_URL"

# Send REQUESTS for a PATH over CONCURRENCY persistent connections; ab's output is in $report.
send() {
    local requests=$1 concurrency=$2 path=$3
    shift 3
    report=$(ab -q -k -l -n "$requests" -c "$concurrency" -H "X-API-Key: $key" "$@" "$url$path" 2>&1) || die "ab: ${report##*$'\n'}"
}

# The number that ab prints after a label, or a default.
figure() {
    local found
    found=$(sed -n "s/^ *$1 *\([0-9][0-9]*\).*/\1/p" <<<"$report" | head -n 1)
    echo "${found:-$2}"
}

complete() { figure 'Complete requests:' 0; }
# ab prints non-2xx responses only if there are any.
failures() { echo $(($(figure 'Failed requests:' 0) + $(figure 'Non-2xx responses:' 0))); }
p95() { figure '95%' 999999; }
responses() { grep -c "^HTTP/1\.[01] $1" <<<"$report" || true; }

# Print one line for a test: its name, the expected and the observed result, and whether it passes.
verdict() {
    local name=$1 expected=$2 seen=$3 passes=$4 result=pass
    if ((!passes)); then
        result=FAIL
        failed=1
    fi
    printf '%-4s  %-22s  expected: %-52s  seen: %s\n' "$result" "$name" "$expected" "$seen"
}

health() {
    send 1000 10 /health
    verdict health "1000 responses, 0 failures, p95 under 50 ms" \
        "$(complete) responses, $(failures) failures, p95 $(p95) ms" \
        $(($(complete) == 1000 && $(failures) == 0 && $(p95) < 50))
}

deep_health() {
    send 500 5 /health/deep
    verdict "deep health" "500 responses, 0 failures, p95 under 1500 ms" \
        "$(complete) responses, $(failures) failures, p95 $(p95) ms" \
        $(($(complete) == 500 && $(failures) == 0 && $(p95) < 1500))
}

rate_limiting() {
    send 150 10 "$limited" -v 2
    verdict "rate limiting" "150 rapid requests: 100 pass, 50 are 429" \
        "$(responses 2) pass, $(responses 429) are 429" $(($(responses 2) == 100 && $(responses 429) == 50))
}

concurrent() {
    send 200 20 "$load"
    verdict "concurrent connections" "200 responses at 20 connections, 0 failures" \
        "$(complete) responses, $(failures) failures, p95 $(p95) ms" $(($(complete) == 200 && $(failures) == 0))
}

# ab sends as fast as it can, so each second gets its share of the requests.
sustained() {
    local total=2000 completed=0 bad=0 worst=0 second share started=$SECONDS
    for ((second = 0; second < seconds; second++)); do
        while ((SECONDS - started < second)); do sleep 0.05; done
        share=$((total * (second + 1) / seconds - total * second / seconds))
        send "$share" 15 "$load"
        completed=$((completed + $(complete)))
        bad=$((bad + $(failures)))
        ((worst >= $(p95))) || worst=$(p95)
    done
    verdict "sustained load" "2000 responses over $seconds s at 15 connections, 0 failures" \
        "$completed responses, $bad failures, worst second's p95 $worst ms" $((completed == total && bad == 0))
}

echo "load tests of $url"
health
deep_health
rate_limiting
concurrent
sustained
exit "$failed"
