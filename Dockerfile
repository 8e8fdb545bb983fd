# The server, temporal-vitess-tool and what they need, without a system around them. scripts/build-image.sh (make image) puts the tree together
# and calls this with .tools/image as its context.
FROM scratch
COPY rootfs/ /
# USER and HOME are for user ids that /etc/passwd does not know (docker run --user, OpenShift): a static binary asks
# them who it is, and Temporal does not start without an answer.
ENV PATH=/usr/local/bin USER=temporal HOME=/etc/temporal
WORKDIR /etc/temporal
USER temporal
# frontend: gRPC, HTTP, membership; then gRPC and membership of history, matching and worker
EXPOSE 7233 7243 6933 7234 6934 7235 6935 7239 6939
HEALTHCHECK --start-period=60s --interval=10s --timeout=6s CMD ["temporal-server", "health", "--bind-on-hostname"]
CMD ["temporal-server", "start", "--bind-on-hostname"]
