# Images of entroute: docs/deploy.md says how they are built, checked and renewed.
#   docker build -t entroute .                             the gateway: no engines, no learning extras
#   docker build -t entroute-embedded --target embedded .  the gateway with llama.cpp
#   docker build -t entroute-sandbox --target sandbox .    runs programs that models write

# A tag can be moved, a digest cannot: releases give BASE=...@sha256:... (docs/deploy.md has the command).
ARG BASE=python:3.13.16-slim-trixie

# What builds, none of which is in a final image.
FROM ${BASE} AS tools
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /build
COPY deploy/image/build.lock deploy/image/
# The secret pip.conf is optional: a mirror, a proxy, an index of one's own.
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    python -m venv --without-pip /tools \
 && python -m pip --python /tools/bin/python install --quiet \
      --require-hashes --only-binary :all: --requirement deploy/image/build.lock
COPY deploy/image/install.sh deploy/image/

FROM tools AS wheel
COPY pyproject.toml README.md LICENSE ./
COPY service service
RUN /tools/bin/python -m hatchling build --target wheel --directory /wheels

# One stage a target, so that a build makes only what its target needs.
FROM tools AS gateway-packages
COPY deploy/image/gateway.lock deploy/image/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf sh deploy/image/install.sh packages gateway
COPY deploy/image/sbom.py deploy/image/
COPY --from=wheel /wheels /wheels
RUN sh deploy/image/install.sh entroute gateway

FROM tools AS embedded-packages
# hadolint ignore=DL3008
RUN apt-get update -qq && apt-get install --yes --no-install-recommends -qq libgomp1
COPY deploy/image/embedded.lock deploy/image/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf sh deploy/image/install.sh packages embedded
COPY deploy/image/sbom.py deploy/image/
COPY --from=wheel /wheels /wheels
RUN sh deploy/image/install.sh entroute embedded

FROM tools AS sandbox-packages
COPY deploy/image/sandbox.lock deploy/image/
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf sh deploy/image/install.sh packages sandbox
COPY deploy/image/sbom.py deploy/image/
COPY --from=wheel /wheels /wheels
RUN sh deploy/image/install.sh entroute sandbox

FROM ${BASE} AS runtime
ARG VERSION=unreleased
ARG REVISION=unknown
LABEL org.opencontainers.image.title="entroute" \
      org.opencontainers.image.description="OpenAI-compatible gateway that spends just enough test-time compute on every request" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
# The file system is read-only where it runs, so bytecode is made here, the library's too: the base has none.
# Nothing is installed later, so pip and its bundled copy go.
RUN groupadd --gid 10001 entroute \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin entroute \
 && install --directory --owner 10001 --group 10001 --mode 0750 /var/cache/entroute \
 && install --directory --mode 0755 /etc/entroute \
 && python -m pip uninstall --quiet --yes --root-user-action ignore pip \
 && rm -rf "$(python -c 'import ensurepip; print(*ensurepip.__path__)')" \
 && python -m compileall -q --invalidation-mode unchecked-hash -x '/(test|tests|idlelib|turtledemo|tkinter|site-packages|dist-packages)/' \
      "$(python -c 'import sysconfig; print(sysconfig.get_path("stdlib"))')"
COPY deploy/image/healthy.py /usr/share/entroute/healthy.py
ENV PATH=/opt/entroute/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    XDG_CACHE_HOME=/var/cache
USER 10001:10001
WORKDIR /var/cache/entroute
EXPOSE 8080
# The command is PID 1 itself: it takes SIGTERM and drains.
STOPSIGNAL SIGTERM
ENTRYPOINT ["entroute"]
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-IS", "/usr/share/entroute/healthy.py"]

FROM runtime AS sandbox
LABEL org.opencontainers.image.title="entroute-sandbox"
COPY --from=sandbox-packages /opt/entroute /opt/entroute
COPY --from=sandbox-packages /build/sbom.cdx.json /usr/share/doc/entroute/sbom.cdx.json
EXPOSE 8090
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-IS", "/usr/share/entroute/healthy.py", "8090"]
CMD ["sandbox", "--host", "0.0.0.0", "--key-file", "/etc/entroute/sandbox.key"]

FROM runtime AS embedded
# llama.cpp computes with it. No version: the base's release decides, and its security updates count.
# The stage embedded-packages has it too, so that the bill of materials does.
USER 0
# hadolint ignore=DL3008
RUN apt-get update -qq \
 && apt-get install --yes --no-install-recommends -qq libgomp1 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/archives/*.deb
USER 10001:10001
LABEL org.opencontainers.image.title="entroute-embedded"
COPY --from=embedded-packages /opt/entroute /opt/entroute
COPY --from=embedded-packages /build/sbom.cdx.json /usr/share/doc/entroute/sbom.cdx.json
CMD ["serve", "--config", "/etc/entroute/gateway.yaml"]

FROM runtime AS gateway
COPY --from=gateway-packages /opt/entroute /opt/entroute
COPY --from=gateway-packages /build/sbom.cdx.json /usr/share/doc/entroute/sbom.cdx.json
CMD ["serve", "--config", "/etc/entroute/gateway.yaml"]
