# Sourced by ../run.

peer_install() {
  needs python3=python3
  python3 -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
  install_once "$here/$peer/requirements.txt" install_python_packages
}
install_python_packages() { python3 -m venv . && bin/pip install -r "$here/$peer/requirements.txt"; }

peer_start() {
  [[ -z $variant ]] || die "django-rest-knox has no variants"
  start_postgres
  export DJANGO_SETTINGS_MODULE=service.settings PYTHONPATH=$here/$peer PYTHONPYCACHEPREFIX=$work/pycache
  export DATABASE_HOST=$postgres WORK=$work TOKENS=$tokens SECRET_KEY
  SECRET_KEY=$(head -c 48 /dev/urandom | base64 -w0)
  { "$installed/bin/django-admin" migrate && "$installed/bin/python" -m service.seed; } >"$work/seed.log" 2>&1 ||
    die "no tokens were made: $(tail -20 "$work/seed.log")"
  # No --timeout: a peer that stood still while another was measured would lose its workers.
  background server "$installed/bin/gunicorn" service.wsgi --bind "127.0.0.1:$port" \
    --workers $((2 * workers + 1)) --worker-class gthread --threads 4 --keep-alive 75 --timeout 0 --graceful-timeout 2 --no-control-socket
  until_ready server answers a
}
