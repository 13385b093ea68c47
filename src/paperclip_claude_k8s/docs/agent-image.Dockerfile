# Image of an agent: the Claude CLI, git, and what its tools need. At run time only HOME and /tmp are written, so it runs
# under the Pod Security Standard `restricted`, also as a user without an entry in /etc/passwd.
#
#   docker build --build-arg CLAUDE_CODE_VERSION=2.1.332 --tag registry.example.com/claude:2.1.332 .
FROM node:22-bookworm-slim

# git and openssh-client for repositories, ca-certificates for HTTPS, jq and ripgrep for the agent's shell.
# The relay, which starts the agent, needs sh and coreutils; awk (in the base image) also gives facts of the final result.
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates git jq openssh-client ripgrep \
 && rm -rf /var/lib/apt/lists/*

ARG CLAUDE_CODE_VERSION=2.1.332
RUN npm install --global "@anthropic-ai/claude-code@${CLAUDE_CODE_VERSION}" \
 && npm cache clean --force \
 && claude --version

# A new version of the CLI comes with a new image, not in the middle of a run.
ENV DISABLE_AUTOUPDATER=1

# A number, because `runAsNonRoot` cannot check a name. The base image has this user as `node`.
USER 1000
