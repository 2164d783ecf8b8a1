#!/usr/bin/env bash
# Passes every test on a fresh Debian machine with a Rust toolchain and a C compiler. As root it installs what is
# missing; otherwise it says what to install. Ends with `N passed, N failed` on a line of its own.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1

# What tests and tools need beside Rust: command=package.
programs=(curl=curl openssl=openssl mount=mount g++=g++)
# Tools from the registry, built without optimisation: they run once.
tools=(cargo-deny cargo-machete cargo-fuzz)
fuzz_targets=(basic body name token_source)
fuzz_seconds=${FUZZ_SECONDS:-10}

passed=0
failed=0
failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step NAME COMMAND...: runs a command, counts it as one, or counts the tests it ran.
step() {
  local name=$1 began=$SECONDS status ok bad ignored
  shift
  printf '\n=== %s\n' "$name"
  "$@" 2>&1 | tee "$log"
  status=${PIPESTATUS[0]}
  read -r ok bad ignored < <(awk '/^test result: / { ok += $4; bad += $6; ignored += $8 } END { print ok + 0, bad + 0, ignored + 0 }' "$log")
  if [[ ${CI:-} == true && $ignored -gt 0 ]]; then
    grep -E '^test .* ignored' "$log" | sed 's/^/under CI nothing may be ignored: /'
    bad=$((bad + ignored))
  fi
  if [[ $ok -eq 0 && $bad -eq 0 ]]; then
    if [[ $status -eq 0 ]]; then ok=1; else bad=1; fi
  elif [[ $status -ne 0 && $bad -eq 0 ]]; then
    bad=1
  fi
  passed=$((passed + ok))
  failed=$((failed + bad))
  [[ $bad -eq 0 ]] || failures+=("$name")
  printf -- '--- %s: %d passed, %d failed, %d s\n' "$name" "$ok" "$bad" $((SECONDS - began))
}

install_programs() {
  local missing=() pair
  for pair in "${programs[@]}"; do
    command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if [[ $EUID -ne 0 ]] || ! command -v apt-get >/dev/null; then
    echo "install these first: ${missing[*]} (Debian: apt-get install ${missing[*]})"
    return 1
  fi
  apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q "${missing[@]}"
}

install_tools() {
  local missing=() tool
  for tool in "${tools[@]}"; do
    command -v "$tool" >/dev/null || missing+=("$tool")
  done
  [[ ${#missing[@]} -eq 0 ]] || cargo install --quiet --debug --locked "${missing[@]}"
}

advisories() {
  if timeout 60 cargo deny fetch db >/dev/null 2>&1; then
    cargo deny check advisories
  else
    echo "the database of advisories cannot be had here: advisories are NOT checked"
  fi
}

fuzz() {
  # Coverage needs compiler flags that a stable toolchain keeps behind this variable; nothing else is unstable.
  mkdir -p "fuzz/corpus/$1"
  RUSTC_BOOTSTRAP=1 cargo fuzz run -s none "$1" "fuzz/corpus/$1" "fuzz/seeds/$1" -- \
    -max_total_time="$fuzz_seconds" -max_len=4096 -print_final_stats=1 2>&1 | grep -vE '^(#|INFO|NEW|REDUCE)'
  return "${PIPESTATUS[0]}"
}

export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
step "programs" install_programs
step "tools" install_tools
step "format" cargo fmt --all --check
step "lints" cargo clippy --workspace --all-targets -- -D warnings
step "lints, schedules" cargo clippy -p doorward-domain --all-targets --features shuttle -- -D warnings
step "docs" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
step "licences, bans, sources" cargo deny --log-level error check licenses bans sources
step "advisories" advisories
step "unused dependencies" cargo machete
step "tests" cargo test --workspace --no-fail-fast
step "schedules" cargo test -p doorward-domain --features shuttle --test schedules
for target in "${fuzz_targets[@]}"; do
  step "fuzz $target" fuzz "$target"
done

if [[ $failed -gt 0 ]]; then
  printf '\nfailed: %s\n' "${failures[@]}"
fi
printf '\n%d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
