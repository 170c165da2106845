#!/usr/bin/env bash
# Every fuzz target for some seconds each: deploy/fuzz.sh [SECONDS (60)] [CRATE/TARGET ...]
# Needs a nightly compiler and cargo-fuzz (installed if missing). Corpora stay in CRATE/fuzz/corpus, which git ignores; a finding
# is left in CRATE/fuzz/artifacts and ends the run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
seconds=${1:-60}
shift || true
cargo +nightly --version >/dev/null || { echo "fuzz.sh: a nightly Rust compiler is needed" >&2; exit 1; }
command -v cargo-fuzz >/dev/null || cargo install --locked cargo-fuzz
targets=("$@")
if [ ${#targets[@]} = 0 ]; then
    for file in */fuzz/fuzz_targets/*.rs; do
        targets+=("${file%%/*}/$(basename "$file" .rs)")
    done
fi
for one in "${targets[@]}"; do
    printf '\033[1m==> %s, %s s\033[0m\n' "$one" "$seconds"
    corpora=("fuzz/corpus/${one#*/}")
    [ ! -d "${one%/*}/fuzz/seeds/${one#*/}" ] || corpora+=("fuzz/seeds/${one#*/}")
    mkdir -p "${one%/*}/${corpora[0]}"
    (cd "${one%/*}" && cargo +nightly fuzz run "${one#*/}" "${corpora[@]}" -- "-max_total_time=$seconds" -max_len=1500 -print_final_stats=1)
done
