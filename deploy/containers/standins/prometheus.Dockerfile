# Debian's Prometheus under the name of the official image.
ARG PYTHON_IMAGE
FROM ${PYTHON_IMAGE} AS fetch
WORKDIR /fetch
RUN apt-get update -qq && chown _apt . && apt-get download -qq prometheus && dpkg-deb -x prometheus_*.deb .
FROM ${PYTHON_IMAGE}
COPY --from=fetch /fetch/usr/bin/prometheus /bin/prometheus
RUN install -d -o nobody -g nogroup /prometheus
USER nobody
VOLUME /prometheus
ENTRYPOINT ["/bin/prometheus"]
