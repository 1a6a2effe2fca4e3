# Image of the gateway: a build stage for the virtual environment and the static files, and a runtime stage without pip,
# with an unprivileged user. It needs no writable file system besides /tmp.
#
# The base image of both stages: the index of 3.12.14 on Debian 13 for all platforms. `make image-base` pins it to the digest
# of today's image; `make image` refuses to build a release from a base without a digest.
ARG BASE=python:3.12-slim@sha256:78387bc3881b8273120a12ebe6c1ab22b018ccc2c9adf565ae1ac9b536e184ea

FROM ${BASE} AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PYTHONDONTWRITEBYTECODE=1
RUN python -m venv --without-pip /opt/venv
COPY requirements*.lock /build/
# The optional parts: also `otel`, `apprise` and `geoip`. docs/deployment.md has their sizes.
ARG EXTRAS="firebase postgres"
RUN set -- -r /build/requirements-core.lock; for extra in $EXTRAS; do set -- "$@" -r "/build/requirements-$extra.lock"; done; \
    pip --python /opt/venv/bin/python install --no-compile --require-hashes --only-binary :all: "$@"
WORKDIR /app
COPY . .
# STAFF_SECOND_FACTOR includes the static files of the parts that sign staff in.
RUN SECRET_KEY=only-for-collecting-the-static-files STAFF_SECOND_FACTOR=optional DATABASE_URL=sqlite:////build/none \
    /opt/venv/bin/python manage.py collectstatic --no-input --verbosity 0
RUN /opt/venv/bin/python -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/venv/lib /app

FROM ${BASE}
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
COPY --from=build /opt/venv /opt/venv
COPY --from=build /app /app
RUN groupadd --system --gid 10001 gateway && useradd --system --uid 10001 --gid 10001 --no-create-home gateway && \
    install -d -o gateway -g gateway /app/var
WORKDIR /app
# A number, so that Kubernetes can verify that it is not root.
USER 10001:10001
EXPOSE 8000
STOPSIGNAL SIGTERM
# On the port that is served: set PORT rather than --port. http.client takes no notice of proxy variables.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 CMD ["python", "-IS", "-c", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ.get('PORT') or 8000), timeout=2); c.request('GET', '/health'); sys.exit(c.getresponse().status != 200)"]
# Exec form: the server is process 1 and receives the stop signal directly.
ENTRYPOINT ["python", "manage.py", "rungateway", "--host", "0.0.0.0"]
