#!/usr/bin/env bash
# Passes every test on a fresh Debian machine with a Rust toolchain and a C compiler. As root it installs what is
# missing; otherwise it says what to install. Ends with `N passed, N failed` on a line of its own.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")" || exit 1
export PATH="${CARGO_HOME:-$HOME/.cargo}/bin:$PATH"
export CARGO_TERM_COLOR=never # the results are read from the output
[[ ${CI:-} != true ]] || export CARGO_INCREMENTAL=0 # on a machine that builds once, it is work for nobody

# What tests and tools need beside Rust: command=package.
programs=(curl=curl git=git kill=procps mount=mount openssl=openssl g++=g++ htpasswd=apache2-utils mkpasswd=whois
  nginx=nginx caddy=caddy haproxy=haproxy apache2=apache2 node=nodejs faketime=faketime)
# Tools from the registry, built without optimisation: they run once. Another version that is there already will do.
tools=(cargo-deny@0.20.2 cargo-machete@0.9.2 cargo-fuzz@0.13.2)
fuzz_targets=(basic body name token_source)
fuzz_seconds=${FUZZ_SECONDS:-10}
# Tests that hang have failed. At a terminal they stay in the foreground, so that Ctrl-C reaches them.
limit=(timeout --kill-after=10s 15m)
[[ ! -t 0 ]] || limit+=(--foreground)

passed=0
failed=0
failures=() # what failed, for the end
log=$(mktemp)
trap 'rm -f "$log"' EXIT

# step NAME COMMAND...: runs a command, counts it as one, or counts the tests it ran.
step() {
  local name=$1 began=$SECONDS status=0 output tee ok bad ignored
  shift
  printf '\n=== %s\n' "$name"
  exec {output}> >(tee "$log")
  tee=$!
  "$@" >&"$output" 2>&1 || status=$?
  exec {output}>&-
  # Wait for the last lines, but not for a process that a test left behind and that still holds the output.
  timeout 5 tail --pid="$tee" --sleep-interval=0.1 -f /dev/null || kill "$tee"
  read -r ok bad ignored < <(awk '/^test result: / { ok += $4; bad += $6; ignored += $8 } END { print ok + 0, bad + 0, ignored + 0 }' "$log")
  if [[ ${CI:-} == true && $ignored -gt 0 ]]; then
    mapfile -t -O "${#failures[@]}" failures < <(grep -E '^test .* \.\.\. ignored' "$log")
    bad=$((bad + ignored))
  fi
  if [[ $ok -eq 0 && $bad -eq 0 ]]; then
    if [[ $status -eq 0 ]]; then ok=1; else bad=1; fi
  elif [[ $status -ne 0 && $bad -eq 0 ]]; then
    bad=1
  fi
  passed=$((passed + ok))
  failed=$((failed + bad))
  [[ $bad -eq 0 ]] || failures+=("step $name: $bad failed, status $status")
  mapfile -t -O "${#failures[@]}" failures < <(grep -E '^test .* FAILED$' "$log")
  printf -- '--- %s: %d passed, %d failed, %d s\n' "$name" "$ok" "$bad" $((SECONDS - began))
}

install_programs() {
  local missing=() pair
  for pair in "${programs[@]}"; do
    type -P "${pair%%=*}" >/dev/null || missing+=("${pair#*=}")
  done
  # Python is of use with its own packages apart only, and Debian parts the two.
  python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
  # Those that the tests of foreign password hashes use are Debian's, whichever Python comes first.
  /usr/bin/python3 -c 'import bcrypt, passlib' 2>/dev/null || missing+=(python3-bcrypt python3-passlib)
  # With which Apache httpd asks Doorward.
  compgen -G '/usr/share/lua/5.*/socket/http.lua' >/dev/null || missing+=(lua-socket)
  # Debian keeps the server's programs out of the path.
  command -v pg_basebackup >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || missing+=(postgresql)
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
    command -v "${tool%@*}" >/dev/null || missing+=("$tool")
  done
  [[ ${#missing[@]} -eq 0 ]] || CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked "${missing[@]}"
}

fuzz() {
  mkdir -p "fuzz/corpus/$1"
  # Without a sanitizer: those want a nightly toolchain, and our code has no unsafe.
  cargo fuzz run -s none "$1" "fuzz/corpus/$1" "fuzz/seeds/$1" -- \
    -max_total_time="$fuzz_seconds" -timeout=10 -max_len=4096 -verbosity=0 -print_final_stats=1
}

step "programs" install_programs
step "tools" install_tools
step "format" cargo fmt --all --check
step "format, fuzz" cargo fmt --manifest-path fuzz/Cargo.toml --check
step "lock file" cargo tree --locked --workspace --depth 0
step "lock file, fuzz" cargo tree --locked --depth 0 --manifest-path fuzz/Cargo.toml
step "lints" cargo clippy --workspace --all-targets -- -D warnings
step "lints, schedules" cargo clippy -p doorward-domain --all-targets --features shuttle -- -D warnings
step "docs" env RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --document-private-items
step "licences, bans, sources" cargo deny --log-level error check licenses bans sources
if GIT_TERMINAL_PROMPT=0 timeout 60 cargo deny fetch db >/dev/null 2>&1; then
  step "advisories" cargo deny check --disable-fetch advisories
else
  advisories="advisories were NOT checked: their database cannot be had from here"
  printf '\n=== %s\n' "$advisories"
fi
step "unused dependencies" cargo machete
step "cargo run finds the product" cargo run --quiet -- --version
# Built before the clock of the tests runs: on a cold machine that takes longer than they do.
step "tests are built" cargo test --quiet --workspace --no-run
step "tests" "${limit[@]}" cargo test --workspace --no-fail-fast
step "schedules" "${limit[@]}" cargo test -p doorward-domain --features shuttle --test schedules
step "requests made from the API document" fuzz/api
for target in "${fuzz_targets[@]}"; do
  step "fuzz $target" fuzz "$target"
done

printf '\n=== result after %d s\n' "$SECONDS"
[[ -z ${advisories:-} ]] || echo "$advisories"
[[ ${#failures[@]} -eq 0 ]] || printf 'failed: %s\n' "${failures[@]}"
printf '%d passed, %d failed\n' "$passed" "$failed"
[[ $failed -eq 0 ]]
