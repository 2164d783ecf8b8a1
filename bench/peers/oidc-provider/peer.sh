# Sourced by ../run. Variants: `client`, tokens of the client credentials grant, which cost the least to introspect, and
# `user`, access tokens of users, each under a grant of its own that is looked up as well.

peer_install() { npm_install; }

peer_start() {
  start_redis
  export NODE_ENV=production REDIS=$redis PORT=$port WORKERS=$workers WORK=$work TOKENS=$tokens VARIANT=${variant:-client}
  [[ $VARIANT =~ ^(client|user)$ ]] || die "oidc-provider has no variant $VARIANT"
  node "$installed/seed.js" >"$work/seed.log" 2>&1 || die "no tokens were made: $(tail -20 "$work/seed.log")"
  background server node "$installed/server.js"
  until_ready server curl -sf "http://127.0.0.1:$port/.well-known/openid-configuration"
}
