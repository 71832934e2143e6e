#!/usr/bin/env bash
# ci/run.sh JOB: one script with named jobs, the same on a build machine and at home.
#
# `./ci/run.sh` lists the jobs. All of them build with the release profile and choose from the whole workspace
# (`selections`), so that lints, tests and the demo share one build of the dependencies. A job installs what it
# needs and no more, says what it skipped and why, and how long it took.
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
quick        format, lint and tests of what changed; installs nothing and needs no root
one NAME     the test of that name, or those with that in their names; builds only the programs they are in
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
nic          the network's tests on drivers of real interfaces, in a guest: nic [CARD]... [SCENARIO]...
differential random routers, the kernel alone beside spine-router: differential --minutes N, or FIRST..END seeds (root)
performance  the tests that measure (root)
model        the paper's adapter: its tests, and the paper's experiments, twice
bench-smoke  every measurement of spine-bench, for a moment, to see that it runs
fuzz         every fuzz target for 60 seconds (SPINE_FUZZ_SECONDS)
hostile-clients  a daemon among hostile clients for 30 minutes (SPINE_HOSTILE_MINUTES, SPINE_SEED; root)
setup        install what is missing for all of these, nothing else
selections   what the jobs have cargo build (`tests/features` compares)
LIST
}

# A job, and what it has cargo do. Always of the whole workspace, whatever of it is built in the end: a choice of packages
# would be a choice of features, too, and Cranelift, wasmtime and the rest would be built again for it.
selections() {
    cat <<'LIST'
demo         build --release --workspace --bin spine-router --bin spine-demo
demo-video   build --release --workspace --bin spine-video --bin spine-demo-video
lint         clippy --release --workspace --all-targets --features spine-fuzz/drive
doc          doc --release --workspace --no-deps
programs     build --release --workspace --bins
unit         test --release --workspace --no-fail-fast
netns        test --release --workspace --no-fail-fast --test netns
differential test --release --workspace --no-fail-fast --test differential
performance  test --release --workspace --no-fail-fast --test performance
bench        build --release --workspace --bin spine-bench
link-video   build --release --workspace --bin link-video
LIST
    echo "wasm         build --release --target wasm32-unknown-unknown $(extension_packages | tr '\n' ' ')"
}

# cargo_for SELECTION [MORE...]: does it.
cargo_for() {
    local arguments
    read -r -a arguments < <(selections | sed -n "s/^$1 //p")
    cargo "${arguments[@]}" "${@:2}"
}

say() { printf '== %s\n' "$*"; }
skip() { printf '== skipped: %s\n' "$*"; }
took() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }

# ---- checks -------------------------------------------------------------------------------------

job_fmt() { cargo fmt --all --check; }

job_lint() { cargo_for lint -- -D warnings; }

job_doc() { RUSTDOCFLAGS="-D warnings" cargo_for doc; }

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
    must_not_contain spine-client '^(wasmtime.*|wasmparser|wasm-encoder|cranelift.*|spine-(io|os))$' \
        "an application holds no compiler, and is built in seconds"
    must_not_contain spine-abi '^(spine-(io|os|sdk).*|wasmtime.*)$' \
        "the ABI is what both sides agree on and needs neither"
    must_not_contain spine-headers '^(spine-(abi|fib|io|os|ring|sdk).*|wasmtime.*)$' \
        "headers are read everywhere, in extensions and in what has never heard of SPINE"
}

# The manifests of the crates that become WebAssembly.
extension_manifests() {
    find . -name target -prune -o -path '*/extension/Cargo.toml' -print \
        -o -path './spine-io/sdk/hello/Cargo.toml' -print \
        -o -path './spine-io/sdk/flows/Cargo.toml' -print -o -path './spine-io/sdk/heavy/Cargo.toml' -print \
        -o -path './tests/extensions/*/Cargo.toml' -print | sort
}

package_name() { sed -n 's/^name = "\(.*\)"/\1/p' "$1" | head -n 1; }

# Those crates, as arguments of cargo.
extension_packages() {
    local manifest
    while read -r manifest; do
        echo "-p $(package_name "$manifest")"
    done < <(extension_manifests)
}

job_wasm() {
    local manifest count=0
    while read -r manifest; do
        if ! grep -q '^#!\[forbid(unsafe_code)\]' "$(dirname "$manifest")/src/lib.rs"; then
            echo "wasm: $(dirname "$manifest")/src/lib.rs does not say #![forbid(unsafe_code)]" >&2
            return 1
        fi
        count=$((count + 1))
    done < <(extension_manifests)
    cargo_for wasm
    echo "wasm: built $count extensions, none with unsafe"
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

# The programs that tests run, and where tests find them.
build_programs() {
    cargo_for programs
    export SPINE_ROUTER=$PWD/$BIN/spine-router
    export SPINE_VIDEO=$PWD/$BIN/spine-video SPINE_TOOLS=$PWD/$BIN
    case $BIN in /*) SPINE_ROUTER=$BIN/spine-router SPINE_VIDEO=$BIN/spine-video SPINE_TOOLS=$BIN ;; esac
}

# The job whose last line is the count of its tests, so that how long it took is said before.
COUNT_LAST=

# run_tests COMMAND...: adds up the result lines of a cargo that tests, and fails as it did.
run_tests() {
    local log status=0
    log=$(mktemp)
    "$@" 2>&1 | tee "$log" || status=$?
    [ -z "$COUNT_LAST" ] || say "$COUNT_LAST: $(took "$SECONDS")"
    awk '/^test result:/ { passed += $4; failed += $6; ignored += $8 }
         /^skipped: /    { skipped += 1 }
         END { if (ignored + skipped) printf "%d ignored by the runner, %d said why they skipped\n", ignored, skipped
               printf "%d passed, %d failed\n", passed, failed }' "$log"
    rm -f "$log"
    return "$status"
}

job_unit() {
    is_root || skip "the tests in network namespaces: they need root (sudo -E ./ci/run.sh netns)"
    build_programs
    run_tests cargo_for unit
}

need_root() {
    if ! is_root; then
        skip "$1: network namespaces and AF_XDP need root (sudo -E ./ci/run.sh $1)"
        exit 0
    fi
}

job_netns() {
    need_root netns
    build_programs
    run_tests cargo_for netns
}

# Without arguments the short set; see tests/nic/README.md.
job_nic() {
    build_programs
    ./tests/nic/lane "$@"
}

# 60 seeds; --minutes N goes on for so long, and FIRST..END are those seeds.
job_differential() {
    need_root differential
    case ${1:-} in
    --minutes) export SPINE_DIFFERENTIAL_MINUTES=${2:?run.sh differential --minutes N} ;;
    ?*..?*) export SPINE_DIFFERENTIAL_SEEDS=$1 ;;
    '') ;;
    *)
        echo "differential: $1 is neither --minutes N nor FIRST..END" >&2
        return 2
        ;;
    esac
    build_programs
    run_tests cargo_for differential -- --nocapture
}

job_performance() {
    need_root performance
    build_programs
    run_tests cargo_for performance -- --nocapture
}

# What `netns` does for 20 seconds.
job_hostile-clients() {
    need_root hostile-clients
    build_programs
    export SPINE_HOSTILE_MINUTES=${SPINE_HOSTILE_MINUTES:-30}
    run_tests cargo_for netns hostile_clients_by_seed -- --nocapture
}

# The experiments print the same bytes each time: the model has no clock and no chance but its seed.
job_model() {
    local first second packages=(-p lanai-model -p spine-fib -p spine-bench -p event-graph)
    build_programs
    run_tests cargo test "${PROFILE[@]}" --no-fail-fast -p spine-features "${packages[@]}" --lib --bins \
        --test board --test cpu
    run_tests cargo test "${PROFILE[@]}" --no-fail-fast --workspace --test programs --test adapter lanai
    first=$("$BIN/spine-bench" lanai --json)
    second=$("$BIN/spine-bench" lanai --json)
    if [ "$first" != "$second" ]; then
        echo "model: two runs of spine-bench lanai --json differ" >&2
        return 1
    fi
    "$BIN/spine-bench" lanai
}

job_bench-smoke() {
    cargo_for bench
    "$BIN/spine-bench" dispatch --turns 10 --runs 1
    "$BIN/spine-bench" dispatch --family ipv6 --turns 10 --runs 1
    "$BIN/spine-bench" fib --lookups 1000 --changes 10 --runs 1
    "$BIN/spine-bench" watchdog --kills 100
    "$BIN/spine-bench" call --rounds 1 --messages 10
    "$BIN/spine-bench" fifo --rounds 100 --messages 1000 --sleepers 10
    "$BIN/spine-bench" hosts --messages 200 --runs 1
}

# With cargo-fuzz and a nightly compiler the targets are guided by coverage and run with a sanitizer; without
# them the same targets are given random mutations of their seeds.
job_fuzz() {
    local target image features seconds=${SPINE_FUZZ_SECONDS:-60}
    # The target `video` has no compiler; the extension comes to it linked.
    image=$(mktemp)
    cargo_for link-video
    "$BIN/link-video" "$image"
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
        cargo run --profile fuzz -p spine-fuzz --features drive,video --bin drive -- --seconds "$seconds"
    fi
    rm -f "$image"
}

job_test() {
    local job start
    for job in fmt unsafe deps deny wasm lint doc; do
        say "$job"
        start=$SECONDS
        "job_$job"
        say "$job: $(took $((SECONDS - start)))"
    done
    say "unit and network tests"
    job_unit
}

# ---- after an edit -------------------------------------------------------------------------------

# Files that differ from where this branch left the one it goes back to, and those that git does not know yet.
changed_files() {
    local base
    base=$(git merge-base HEAD '@{upstream}' 2>/dev/null || git merge-base HEAD origin/HEAD 2>/dev/null ||
        git merge-base HEAD main 2>/dev/null || git rev-parse HEAD)
    git diff --name-only "$base"
    git ls-files --others --exclude-standard
}

# The folder of the package that a file belongs to; the workspace's own files belong to none.
package_folder() {
    local folder
    folder=$(dirname "$1")
    while [ "$folder" != . ]; do
        if [ -e "$folder/Cargo.toml" ]; then
            echo "$folder"
            return
        fi
        folder=$(dirname "$folder")
    done
}

# Of which package's program for tests a file is a part, as arguments of cargo: unit tests of a library or program, or the
# one below tests/, or one that the manifest names.
test_target() {
    local folder=$1 file=${2#"$1"/} name
    case $file in
    src/*) if [ -e "$folder/src/lib.rs" ]; then echo --lib; else echo --bins; fi ;;
    *)
        name=${file#tests/}
        name=${name%%/*}
        name=${name%.rs}
        if [ "$file" = "${file#tests/}" ] && ! grep -q "^name = \"$name\"" "$folder/Cargo.toml"; then
            # A module beside the program's main.rs.
            name=$(grep -B1 '^path = "main.rs"' "$folder/Cargo.toml" | sed -n 's/^name = "\(.*\)"/\1/p')
        fi
        [ -z "$name" ] || echo "--test $name"
        ;;
    esac
}

# Tests of these targets. Together with spine-features a package has the features of the whole workspace. Our own crates
# are compiled in pieces here, of which an edit changes few; what others wrote is what all jobs use. They are other
# builds of our crates than those of the other jobs: the first time takes a few minutes.
quick_cargo() {
    local crate pieces=()
    for crate in spine-io spine-nic; do
        pieces+=(--config "profile.release.package.$crate.codegen-units=64")
    done
    CARGO_INCREMENTAL=1 cargo "$1" "${PROFILE[@]}" "${pieces[@]}" -p spine-features "${@:2}"
}

# Formatting, lints and tests of the packages in which something changed: their own unit tests, and the programs of
# tests in which something changed or that the package has for itself. What depends on them is for `test`.
job_quick() {
    local folder name packages=() targets=()
    while read -r folder; do
        name=$(package_name "$folder/Cargo.toml")
        packages+=(-p "$name")
        # A program with a library beside it has its tests there.
        if [ -e "$folder/src/lib.rs" ]; then
            targets+=(--lib)
        elif [ -e "$folder/src/main.rs" ]; then
            targets+=(--bins)
        fi
        while read -r name; do targets+=(--test "$name"); done < <(own_tests "$folder")
    done < <(changed_files | while read -r file; do package_folder "$file"; done | sort -u)
    say "format"
    job_fmt
    if [ "${#packages[@]}" -eq 0 ]; then
        say "no package has changed"
        return
    fi
    if changed_files | grep -qE '^(Cargo|rust-toolchain|clippy)\.'; then
        say "files of the whole workspace have changed, too: \`test\` looks at everything"
    fi
    say "lint: ${packages[*]}"
    quick_cargo clippy "${packages[@]}" --all-targets -- -D warnings
    if [ "${#targets[@]}" -eq 0 ]; then
        say "what has changed are tests that take minutes: \`one NAME\` runs one of them"
        return
    fi
    say "tests: ${packages[*]}"
    run_tests quick_cargo test --no-fail-fast "${packages[@]}" "${targets[@]}"
}

# Tests that the package in a folder has below tests/. Those of spine-tests and spine-safety take minutes: `one` runs those.
own_tests() {
    local path
    for path in "$1"/tests/*.rs "$1"/tests/*/main.rs; do
        [ -e "$path" ] || continue
        path=${path%/main.rs}
        basename "$path" .rs
    done
}

# The programs that hold a function of this name are built and run; what they run is built by them.
job_one() {
    local name=${1:?run.sh one NAME: which test?} file folder packages=() targets=()
    while read -r file; do
        folder=$(package_folder "$file")
        packages+=(-p "$(package_name "$folder/Cargo.toml")")
        read -r -a target < <(test_target "$folder" "$file")
        targets+=("${target[@]}")
    done < <(git grep -l --untracked -E "fn [a-z0-9_]*${name##*::}" -- '*.rs')
    if [ "${#packages[@]}" -eq 0 ]; then
        echo "one: no function has '${name##*::}' in its name" >&2
        return 1
    fi
    run_tests quick_cargo test --no-fail-fast "${packages[@]}" "${targets[@]}" -- "$name"
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
    cargo_for demo
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
    cargo_for demo-video
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
    if [ "$job" = selections ]; then
        selections
        return
    fi
    if ! declare -F "job_$job" >/dev/null && [ "$job" != setup ]; then
        [ -z "$job" ] || echo "run.sh: there is no job '$job'. The jobs are:" >&2
        jobs_list >&2
        return 2
    fi
    case $job in
    test | unit | netns | differential | performance) COUNT_LAST=$job ;;
    esac
    ./ci/setup.sh "$job"
    [ "$job" = setup ] || "job_$job" "${@:2}"
    [ -n "$COUNT_LAST" ] || say "$job: $(took "$SECONDS")"
}

main "$@"
