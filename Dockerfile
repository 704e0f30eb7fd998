# The project in an image of its own, see docs/deploying.md. KEDRO_UID, KEDRO_GID, BASE_IMAGE and the
# home are those of kedro-docker, so that `kedro docker build` and `kedro docker run` work too.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# pydensecrf2 is built from source.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
ENV PATH=/opt/venv/bin:$PATH PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
WORKDIR /build
COPY requirements.lock ./
# torch for CPUs, 0.2 GB. PyPI's brings CUDA along: --build-arg TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
RUN pip install -c requirements.lock --index-url "${TORCH_INDEX}" torch torchvision
# What else the project needs, without its sources: a change of these installs nothing anew.
ARG EXTRAS=""
COPY pyproject.toml README.md LICENSE ./
RUN mkdir src && pip install -c requirements.lock ".[${EXTRAS}]"

FROM ${BASE_IMAGE}
ARG KEDRO_UID=999
ARG KEDRO_GID=0
RUN groupadd --force --gid "${KEDRO_GID}" kedro_group \
    && useradd --create-home --home-dir /home/kedro_docker --non-unique \
        --uid "${KEDRO_UID}" --gid "${KEDRO_GID}" kedro_docker
COPY --from=build /opt/venv /opt/venv
# Nothing phones home.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/home/kedro_docker/src \
    DO_NOT_TRACK=1 MLFLOW_DISABLE_TELEMETRY=true RAY_USAGE_STATS_ENABLED=0
USER kedro_docker
WORKDIR /home/kedro_docker
RUN mkdir data
COPY --chown=${KEDRO_UID}:${KEDRO_GID} . .
VOLUME /home/kedro_docker/data
CMD ["kedro", "run"]
