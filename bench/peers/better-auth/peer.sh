# Sourced by ../run. Variants: `redis`, keys in the secondary storage, and `database`, keys in PostgreSQL, where users are in
# either.

peer_install() { npm_install; }

peer_start() {
  start_redis
  start_postgres
  export NODE_ENV=production REDIS=$redis DATABASE_HOST=$postgres PORT=$port WORKERS=$workers WORK=$work TOKENS=$tokens
  export VARIANT=${variant:-redis} BETTER_AUTH_URL=http://127.0.0.1:$port BETTER_AUTH_SECRET
  BETTER_AUTH_SECRET=$(head -c 48 /dev/urandom | base64 -w0)
  [[ $VARIANT =~ ^(redis|database)$ ]] || die "better-auth has no variant $VARIANT"
  node "$installed/seed.js" >"$work/seed.log" 2>&1 || die "no keys were made: $(tail -20 "$work/seed.log")"
  background server node "$installed/server.js"
  until_ready server answers a
}
