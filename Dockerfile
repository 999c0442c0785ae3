# Hansom's images. Each holds the project in /opt/hansom with its environment in .venv, as
# config/kuberay.yaml and compose.yaml expect it.
#
#   docker build --target cpu --tag hansom:cpu .
#   docker build --target gpu --tag hansom:gpu .
#
# Without a CPU build of torch in your package index the CPU image is 4 GB larger; README.md says which
# index has one: --build-arg PIP_EXTRA_INDEX_URL=... (or PIP_FIND_LINKS, a folder of wheels that the
# build can read).

ARG BASE=debian:12-slim

FROM ${BASE} AS base
# libnuma1: vLLM's CPU build is linked to it. wget: KubeRay's probes and compose.yaml's health check
# ask with it. procps: `ray stop` and people.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libnuma1 make procps python3.11 python3.11-venv wget \
 && rm -rf /var/lib/apt/lists/*
# Login shells, in which Ray starts itself on a cluster, set PATH anew; the cluster files name ~/hansom.
RUN useradd --uid 1000 --create-home --shell /bin/bash hansom \
 && install -d -o hansom -g hansom /opt/hansom /var/lib/hansom \
 && ln -s /opt/hansom /home/hansom/hansom \
 && echo 'export PATH=/opt/hansom/.venv/bin:$PATH' > /etc/profile.d/hansom.sh
USER hansom
WORKDIR /opt/hansom
ENV PATH=/opt/hansom/.venv/bin:$PATH \
    HANSOM_HOME=/var/lib/hansom \
    PIP_NO_CACHE_DIR=1 \
    PYTHONUNBUFFERED=1
# The packages before the sources: a change of ours does not install 3 GB again.
COPY --chown=hansom:hansom Makefile ./
COPY --chown=hansom:hansom requirements requirements

FROM base AS cpu
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
RUN make requirements
COPY --chown=hansom:hansom . .
RUN make install
VOLUME /var/lib/hansom
EXPOSE 8000
CMD ["hansom", "serve", "--config", "config/compose/hansom.yaml"]

FROM base AS gpu
USER root
# Triton compiles its launchers when an engine starts. The driver comes from NVIDIA's container runtime.
RUN apt-get update \
 && apt-get install -y --no-install-recommends gcc libc6-dev python3.11-dev \
 && rm -rf /var/lib/apt/lists/*
USER hansom
ARG PIP_EXTRA_INDEX_URL
ARG PIP_FIND_LINKS
RUN make requirements-gpu
COPY --chown=hansom:hansom . .
RUN make install-gpu
VOLUME /var/lib/hansom
EXPOSE 8000
# No command of its own: KubeRay gives one, and elsewhere `hansom serve --config` needs your settings file.
