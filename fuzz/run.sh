#!/bin/sh
# Runs every fuzz target for some seconds, by itself, on stable Rust. No cargo-fuzz is needed:
# libFuzzer wants its coverage callbacks compiled in, and those are plain LLVM options.
#
#   fuzz/run.sh [SECONDS_EACH] [TARGET…]     default: 5 seconds, all targets
#
# Prints the executions of each; ends with 1 when a target crashed, hung or used too much memory.
# The input that did it is kept under fuzz/artifacts/TARGET/; replay it with
#   fuzz/target/HOST/release/TARGET fuzz/artifacts/TARGET/FILE
# What a run discovers stays in fuzz/target/corpus; the seeds in fuzz/corpus are not changed.
set -eu
cd "$(dirname "$0")"

seconds=${1:-5}
case $seconds in '' | *[!0-9]*) echo "usage: $0 [SECONDS_EACH] [TARGET…]" >&2; exit 2 ;; esac
[ $# -gt 0 ] && shift
[ $# -gt 0 ] || set -- rtp rtcp stun demux sdp tap link client_message journal finalize

host=$(rustc -vV | sed -n 's/^host: //p')
# With --target these reach our code and libraries, but not build scripts and macros.
export RUSTFLAGS="--cfg fuzzing \
  -Cpasses=sancov-module \
  -Cllvm-args=-sanitizer-coverage-level=4 \
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
  -Cllvm-args=-sanitizer-coverage-pc-table \
  -Cllvm-args=-sanitizer-coverage-trace-compares"
export CARGO_TARGET_DIR="$PWD/target"
bins=$(printf -- '--bin %s ' "$@")
# shellcheck disable=SC2086 # one word for each option
cargo build --release --quiet --target "$host" $bins

failed=0
for target in "$@"; do
    found=target/corpus/$target
    log=target/$target.log
    mkdir -p "$found" "artifacts/$target"
    # Session descriptions may be long; 64 KiB hold every real one. Others are datagrams.
    case $target in sdp | client_message | finalize) len=65536 ;; *) len=3000 ;; esac
    if "target/$host/release/$target" "$found" "corpus/$target" \
        -max_total_time="$seconds" -max_len="$len" -timeout=5 -rss_limit_mb=1024 \
        -print_final_stats=1 -artifact_prefix="artifacts/$target/" >"$log" 2>&1; then
        result=ok
    else
        result=FAILED
        failed=1
    fi
    count=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    coverage=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -n 1)
    printf '%-15s %-7s %9s executions, %5s edges\n' "$target" "$result" "${count:-?}" "${coverage:-?}"
    [ "$result" = ok ] || tail -n 40 "$log"
done
exit "$failed"
