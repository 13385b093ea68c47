# Starts the relay, whose script is $0, for the agent "$@". The agent may read /proc/1/environ, which shows the
# environment with which that process was started. So this shell replaces itself by one without the nonce, and leaves the
# nonce in a file in the Pod's own folder, which the relay removes before the agent starts.
# Without one of these programs, the relay would lose the agent's output without a word, so the agent is not started.
lacks=
for tool in dd head mkdir rm sleep wc; do
  command -v "$tool" >/dev/null 2>&1 || { lacks=1 && echo "paperclip relay: $tool: not found" >&2; }
done
[ -z "$lacks" ] || exit 127
(umask 077 && mkdir -p "$PAPERCLIP_RELAY_DIR" && echo "$PAPERCLIP_RELAY_NONCE" >"$PAPERCLIP_RELAY_DIR/nonce")
unset PAPERCLIP_RELAY_NONCE
exec sh -c "$0" relay "$@"
