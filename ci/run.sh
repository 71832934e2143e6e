#!/usr/bin/env bash
# ci/run.sh JOB: one script with named jobs, the same on a build machine and at home.
#
# `./ci/run.sh` lists the jobs. All of them build with the release profile, so that lints, tests and
# the demo share one build of the dependencies. A job says what it skipped and why.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

export CARGO_TERM_COLOR=${CARGO_TERM_COLOR:-auto}
PATH=$PATH:/usr/sbin:/sbin
readonly PROFILE=(--release)
readonly BIN=${CARGO_TARGET_DIR:-target}/release

# Every namespace the harness makes carries this in its name, so that what an interrupted or killed run
# left behind can be told from everybody else's.
SPINE_RUN=$(printf '%04x' "$RANDOM")
export SPINE_RUN

jobs_list() {
    cat <<'LIST'
demo         forward real traffic between three namespaces and print what happened (root, or a user namespace)
demo-video   show network video in a window, and what it takes beside GStreamer and ffplay (root)
test         set up, then every check and every test
fmt          rustfmt
lint         clippy, warnings are errors
doc          rustdoc, warnings are errors
deps         who may depend on whom
deny         licences and advisories of the dependencies (needs cargo-deny)
wasm         extensions: built for wasm32, without unsafe
unsafe       unsafe only in the files listed in ci/unsafe.txt, each with its reason
unit         all tests; those of the network are skipped without root
netns        the tests in network namespaces only (root)
performance  the tests that measure (root)
model        the paper's adapter: its tests, and the paper's experiments, twice
bench-smoke  every bench, once, to see that it runs
fuzz         every fuzz target for 60 seconds (SPINE_FUZZ_SECONDS)
setup        install what is missing, nothing else
LIST
}

say() { printf '== %s\n' "$*"; }
skip() { printf '== skipped: %s\n' "$*"; }

# ---- checks -------------------------------------------------------------------------------------

job_fmt() { cargo fmt --all --check; }

job_lint() { cargo clippy "${PROFILE[@]}" --workspace --all-targets -- -D warnings; }

job_doc() { RUSTDOCFLAGS="-D warnings" cargo doc "${PROFILE[@]}" --workspace --no-deps; }

job_deny() {
    if ! command -v cargo-deny >/dev/null; then
        skip "deny: cargo-deny is not installed (cargo install --locked cargo-deny)"
        return
    fi
    cargo deny --log-level error check bans licenses sources
    if cargo deny --log-level off fetch db >/dev/null 2>&1; then
        cargo deny --log-level error check advisories
    else
        skip "deny: advisories, whose database cannot be fetched here"
    fi
}

# The names of all crates that are compiled into a package.
crates_in() { cargo tree -p "$1" -e normal --prefix none -f '{p}' | cut -d' ' -f1 | sort -u; }

# must_not_contain PACKAGE PATTERN WHY
must_not_contain() {
    local found
    found=$(crates_in "$1" | grep -E "$2" | tr '\n' ' ' || true)
    if [ -n "$found" ]; then
        echo "deps: $1 contains $found- $3" >&2
        return 1
    fi
    echo "deps: $1 is free of $2"
}

# (The runtime of wasmtime shares three small data-structure crates with Cranelift; they compile nothing.)
job_deps() {
    must_not_contain spine-io '^(cranelift-(codegen|frontend|native)|wasmtime-internal-(cranelift|winch)|spine-os)$' \
        "the adapter holds no compiler and never imports the host side"
    must_not_contain spine-nic '^(wasmtime.*|cranelift.*|spine-(io|os))$' \
        "network interfaces know neither extensions nor the host side"
    must_not_contain spine-remote '^(wasmtime.*|xsk-rs|aya|libbpf-rs|spine-(nic|io|os))$' \
        "messages between machines are made of bytes and time alone"
    must_not_contain spine-os '^(spine-io|xsk-rs|aya|libbpf-rs)$' \
        "the host side never imports the adapter"
    must_not_contain spine-abi '^(spine-(io|os|sdk).*|wasmtime.*)$' \
        "the ABI is what both sides agree on and needs neither"
}

# The manifests of the crates that become WebAssembly.
extension_manifests() {
    find . -name target -prune -o -path '*/extension/Cargo.toml' -print \
        -o -path './spine-io/sdk/hello/Cargo.toml' -print \
        -o -path './spine-io/sdk/flows/Cargo.toml' -print -o -path './spine-io/sdk/heavy/Cargo.toml' -print \
        -o -path './tests/extensions/*/Cargo.toml' -print | sort
}

package_name() { sed -n 's/^name = "\(.*\)"/\1/p' "$1" | head -n 1; }

job_wasm() {
    local manifest packages=()
    while read -r manifest; do
        if ! grep -q '^#!\[forbid(unsafe_code)\]' "$(dirname "$manifest")/src/lib.rs"; then
            echo "wasm: $(dirname "$manifest")/src/lib.rs does not say #![forbid(unsafe_code)]" >&2
            return 1
        fi
        packages+=(-p "$(package_name "$manifest")")
    done < <(extension_manifests)
    cargo build "${PROFILE[@]}" --target wasm32-unknown-unknown "${packages[@]}"
    echo "wasm: built ${packages[*]}, none with unsafe"
}

# The compiler denies unsafe where a file does not allow it, and clippy denies a block without a reason;
# what is left to check is which files allow it.
job_unsafe() {
    local allowed expected
    allowed=$(grep -rlE --include='*.rs' --exclude-dir=target 'allow\(unsafe_code|expect\(unsafe_code' . | sed 's|^\./||' | sort)
    expected=$(sed -e 's/#.*//' -e 's/[[:space:]]*$//' -e '/^$/d' ci/unsafe.txt | sort)
    if ! diff <(echo "$expected") <(echo "$allowed"); then
        echo "unsafe: the files that allow unsafe code (>) are not those of ci/unsafe.txt (<)" >&2
        return 1
    fi
    echo "unsafe: $(echo "$allowed" | wc -l) files, as listed in ci/unsafe.txt"
}

# ---- tests --------------------------------------------------------------------------------------

is_root() { [ "$(id -u)" -eq 0 ]; }

# Removes what a killed test left behind: namespaces of this run, with the processes in them.
remove_namespaces() {
    local name pid
    is_root || return 0
    ip netns list 2>/dev/null | cut -d' ' -f1 | grep "^spine-$SPINE_RUN-" | while read -r name; do
        for pid in $(ip netns pids "$name"); do kill -9 "$pid" 2>/dev/null || true; done
        ip netns del "$name" || true
    done || true
}
trap remove_namespaces EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

build_all() {
    cargo build "${PROFILE[@]}" --workspace --bins --tests --benches
    export SPINE_ROUTER=$PWD/$BIN/spine-router
    export SPINE_VIDEO=$PWD/$BIN/spine-video SPINE_TOOLS=$PWD/$BIN
    case $BIN in /*) SPINE_ROUTER=$BIN/spine-router SPINE_VIDEO=$BIN/spine-video SPINE_TOOLS=$BIN ;; esac
}

# Adds up cargo's own result lines, and fails as cargo did.
run_tests() {
    local log status=0
    log=$(mktemp)
    cargo test "${PROFILE[@]}" --no-fail-fast "$@" 2>&1 | tee "$log" || status=$?
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
         /^skipped: /    { skipped += 1 }
         END { if (ignored + skipped) printf "%d ignored by the runner, %d said why they skipped\n", ignored, skipped
               printf "%d passed, %d failed\n", passed, failed }' "$log"
    rm -f "$log"
    return "$status"
}

job_unit() {
    is_root || skip "the tests in network namespaces: they need root (sudo -E ./ci/run.sh netns)"
    build_all
    run_tests --workspace
}

need_root() {
    if ! is_root; then
        skip "$1: network namespaces and AF_XDP need root (sudo -E ./ci/run.sh $1)"
        exit 0
    fi
}

job_netns() {
    need_root netns
    build_all
    run_tests -p spine-tests
}

job_performance() {
    need_root performance
    build_all
    run_tests -p spine-tests --test 'performance_*' -- --nocapture
}

# The experiments print the same bytes each time: the model has no clock and no chance but its seed.
job_model() {
    local first second packages=(-p lanai-model -p spine-fib -p spine-io -p spine-bench -p event-graph)
    # One choice of packages for all: another one has other features, and the dependencies would be built again.
    cargo build "${PROFILE[@]}" "${packages[@]}" --bins --tests
    run_tests "${packages[@]}"
    first=$("$BIN/spine-bench" lanai --json)
    second=$("$BIN/spine-bench" lanai --json)
    if [ "$first" != "$second" ]; then
        echo "model: two runs of spine-bench lanai --json differ" >&2
        return 1
    fi
    "$BIN/spine-bench" lanai
}

job_bench-smoke() { cargo bench --workspace --bench '*' -- --test; }

# With cargo-fuzz and a nightly compiler the targets are guided by coverage and run with a sanitizer; without
# them the same targets are given random mutations of their seeds.
job_fuzz() {
    local target image features seconds=${SPINE_FUZZ_SECONDS:-60}
    # The target `video` has no compiler; the extension comes to it linked.
    image=$(mktemp)
    cargo run "${PROFILE[@]}" -p spine-tests --bin link-video -- "$image"
    export SPINE_FUZZ_VIDEO_IMAGE=$image
    if cargo +nightly fuzz --version >/dev/null 2>&1; then
        for target in spine-io/fuzz/fuzz_targets/*.rs; do
            target=$(basename "$target" .rs)
            say "cargo fuzz: $target, $seconds s"
            features=libfuzzer
            [ "$target" != video ] || features+=,video
            (cd spine-io && cargo +nightly fuzz run --no-default-features --features "$features" "$target" -- \
                -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024)
        done
    else
        skip "cargo fuzz: it needs a nightly compiler and cargo-fuzz (cargo install --locked cargo-fuzz)"
        say "the plain driver instead: every target, $seconds s"
        cargo run --profile fuzz -p spine-fuzz --bin drive -- --seconds "$seconds"
    fi
    rm -f "$image"
}

job_test() {
    local job
    for job in fmt unsafe deps deny wasm lint doc; do
        say "$job"
        "job_$job"
    done
    say "unit and network tests"
    job_unit
}

# ---- demo ---------------------------------------------------------------------------------------

# Runs a command as root of namespaces of its own, which takes no privileges. /run is where `ip netns` keeps
# its list, and another user's is not writable.
in_user_namespace() {
    unshare --user --map-root-user --mount --net -- \
        sh -c 'mount -t tmpfs tmpfs /run && exec "$@"' sh "$@"
}

# True, after a password perhaps, if sudo is there and lets this user.
may_sudo() {
    command -v sudo >/dev/null || return 1
    say "the demo needs root (namespaces, AF_XDP); sudo may ask for your password"
    sudo --validate
}

job_demo() {
    local why run_as=()
    say "building (the first time takes some minutes)"
    cargo build "${PROFILE[@]}" -p spine-router -p spine-tests --bins
    if is_root; then
        :
    elif may_sudo; then
        run_as=(sudo --preserve-env=SPINE_RUN)
    elif why=$(in_user_namespace true 2>&1); then
        say "neither root nor sudo: the demo runs in a user namespace, on AF_PACKET in place of AF_XDP"
        run_as=(in_user_namespace)
    else
        echo "demo: neither root nor sudo, and this system refuses user namespaces (${why//$'\n'/; }): run it as" \
            "root, or see sysctl user.max_user_namespaces, kernel.unprivileged_userns_clone and" \
            "kernel.apparmor_restrict_unprivileged_userns" >&2
        return 1
    fi
    "${run_as[@]}" "$BIN/spine-demo" --router "$BIN/spine-router"
}

job_demo-video() {
    local as_root=()
    say "building (the first time takes some minutes)"
    cargo build "${PROFILE[@]}" -p spine-video -p spine-tests --bins
    if ! is_root; then
        if ! command -v sudo >/dev/null; then
            echo "demo-video: namespaces and AF_XDP need root and there is no sudo here; run this as root" >&2
            return 1
        fi
        say "the demo needs root (namespaces, AF_XDP); sudo may ask for your password"
        as_root=(sudo --preserve-env=SPINE_RUN,SPINE_VIDEO,DISPLAY,XAUTHORITY)
    fi
    export SPINE_VIDEO=$PWD/$BIN/spine-video
    case $BIN in /*) SPINE_VIDEO=$BIN/spine-video ;; esac
    "${as_root[@]}" "$BIN/spine-demo-video" "$@"
}

# ---- main ---------------------------------------------------------------------------------------

main() {
    local job=${1:-}
    if ! declare -F "job_$job" >/dev/null && [ "$job" != setup ]; then
        [ -z "$job" ] || echo "run.sh: there is no job '$job'. The jobs are:" >&2
        jobs_list >&2
        return 2
    fi
    ./ci/setup.sh
    [ "$job" = setup ] || "job_$job" "${@:2}"
}

main "$@"
