#!/bin/sh
# Usage: fuzz/run.sh SECONDS [TARGET..]: builds the targets with libFuzzer's instrumentation, runs each for so long, and
# prints how many edges of the program it has reached. It needs a nightly toolchain and a C++ compiler, but not cargo-fuzz. New
# inputs land below the target directory; one that breaks something is named, and belongs into fuzz/corpus together with the fix.
set -eu
missing() {
    echo "fuzz: there is no $1: $2" >&2
    exit 1
}
cargo +nightly --version >/dev/null 2>&1 || missing "nightly toolchain" "rustup toolchain install nightly --profile minimal"
command -v "${CXX:-c++}" >/dev/null || missing "C++ compiler (libFuzzer is built with it)" "apt-get install g++, or set CXX"
seconds=$1
shift
cd "$(dirname "$0")"
host=$(rustc -vV | sed -n 's/^host: //p')
out=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
[ $# -gt 0 ] || set -- $(ls corpus)

RUSTFLAGS="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares" \
    cargo +nightly build --locked --quiet --release --bins --target "$host" --target-dir "$out"

failed=
for target in "$@"; do
    mkdir -p "$out/corpus/$target"
    log=$out/$target.log
    if "$out/$host/release/$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
        -artifact_prefix="$out/$target-" "$out/corpus/$target" "corpus/$target" >"$log" 2>&1; then
        sed -n "s/^#\([0-9]*\)\tDONE *cov: \([0-9]*\).*/$target: \1 runs, \2 edges/p" "$log"
    else
        tail -25 "$log"
        failed="$failed $target"
    fi
done
[ -z "$failed" ] || { echo "FAILED:$failed"; exit 1; }
