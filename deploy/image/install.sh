#!/bin/sh
# Fill /opt/entroute for one target (gateway, embedded or sandbox), in two steps, so that a change
# of the code fetches nothing again:
#   install.sh packages TARGET    what its lock says; wheels only: no package runs code of its own
#   install.sh entroute TARGET    entroute itself, the bill of materials, bytecode
set -eu
step=$1 target=$2
install() {
  python -m pip --python /opt/entroute/bin/python install --quiet --no-compile "$@"
}
case $step in
packages)
  python -m venv --without-pip /opt/entroute
  install --require-hashes --only-binary :all: --requirement "deploy/image/$target.lock"
  ;;
entroute)
  install --no-deps --no-index /wheels/*.whl
  /tools/bin/cyclonedx-py environment --output-format JSON --output-reproducible \
    --output-file packages.cdx.json /opt/entroute/bin/python
  python deploy/image/sbom.py "entroute-$target" packages.cdx.json sbom.cdx.json
  # Never stale and never compared with the source: nothing in an image changes.
  python -m compileall -q --invalidation-mode unchecked-hash /opt/entroute/lib
  ;;
*)
  echo "install.sh: $step is neither packages nor entroute" >&2
  exit 2
  ;;
esac
