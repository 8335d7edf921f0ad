# One image for the service and the workers: `serve` (default) or `work`. Nothing is compiled in it.
FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
WORKDIR /build
RUN python -m venv /app && python -m venv /tools
COPY requirements.lock ./
RUN /app/bin/pip install --only-binary :all: --require-hashes -r requirements.lock
COPY deploy/build.lock deploy/
RUN /tools/bin/pip install --only-binary :all: --require-hashes -r deploy/build.lock
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY deploy/leadline.example.toml deploy/
COPY worker worker
COPY service service
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheel . \
    && /app/bin/pip install --no-deps --no-index /wheel/*.whl \
    && rm -rf /app/lib/python3.13/site-packages/pip /app/lib/python3.13/site-packages/pip-* /app/bin/pip*

FROM python:3.13-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin leadline \
    && install -d -o leadline -g leadline -m 0700 /data
COPY --from=build /app /app
ENV PATH=/app/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    LEADLINE_HOST=0.0.0.0 \
    LEADLINE_PORT=8000 \
    LEADLINE_DATA_DIR=/data \
    LEADLINE_LOG_FORMAT=json
USER leadline
WORKDIR /data
VOLUME /data
EXPOSE 8000
STOPSIGNAL SIGTERM
# For the service; the workers have no port and their container switches it off.
HEALTHCHECK --interval=10s --timeout=3s --start-period=20s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['LEADLINE_PORT'] + '/healthz', timeout=2)"]
ENTRYPOINT ["leadline"]
CMD ["serve"]
