# The server, temporal-vitess-tool and what they need, without a system around them. scripts/build-image.sh (make image) puts the tree together
# and calls this with .tools/image/server as its context.
FROM scratch
# The first step: Docker's builder without BuildKit refuses it for another platform once there is one before it.
COPY rootfs/ /
# USER and HOME are for user ids that /etc/passwd does not know (docker run --user, OpenShift): a static binary asks
# them who it is, and Temporal does not start without an answer.
ENV PATH=/usr/local/bin USER=temporal HOME=/etc/temporal
WORKDIR /etc/temporal
# By number: Kubernetes' runAsNonRoot cannot look into /etc/passwd.
USER 1000:1000
# frontend: gRPC, HTTP, membership; then gRPC and membership of history, matching and worker
EXPOSE 7233 7243 6933 7234 6934 7235 6935 7239 6939
HEALTHCHECK --start-period=60s --interval=10s --timeout=6s CMD ["temporal-server", "health", "--bind-on-hostname"]
CMD ["temporal-server", "start", "--bind-on-hostname"]
ARG VERSION
ARG REVISION
ARG CREATED
LABEL org.opencontainers.image.title="Temporal on sharded Vitess" \
      org.opencontainers.image.description="temporal-server with the vitess persistence plugin, and temporal-vitess-tool" \
      org.opencontainers.image.source="https://github.com/temporal-vitess/temporal-vitess" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
