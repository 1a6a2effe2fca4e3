# Image of the gateway: a build stage for the virtual environment, and a runtime stage with an unprivileged user.
FROM python:3.12-slim AS build
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
RUN python -m venv /opt/venv
COPY requirements*.txt ./
RUN /opt/venv/bin/pip install -r requirements.txt
# `--build-arg TRACES=on` adds the OpenTelemetry exporter.
ARG TRACES=off
RUN [ "$TRACES" = off ] || /opt/venv/bin/pip install -r requirements-otel.txt
RUN /opt/venv/bin/python -m compileall -q /opt/venv/lib

FROM python:3.12-slim
ENV PATH=/opt/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
RUN useradd --system --uid 10001 --no-create-home gateway && mkdir -p /app/var && chown gateway /app/var
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY . .
USER gateway
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/health', timeout=2)"]
# Exec form: the server is process 1 and receives the stop signal directly.
ENTRYPOINT ["python", "manage.py", "rungateway", "--host", "0.0.0.0"]
