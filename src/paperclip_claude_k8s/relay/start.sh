# Starts the relay, whose script is $0, for the agent "$@". The agent may read /proc/1/environ, which shows the
# environment with which that process was started. So this shell replaces itself by one without the nonce, and leaves the
# nonce in a file in the Pod's own folder, which the relay removes before the agent starts.
(umask 077 && mkdir -p "$PAPERCLIP_RELAY_DIR" && echo "$PAPERCLIP_RELAY_NONCE" >"$PAPERCLIP_RELAY_DIR/nonce")
unset PAPERCLIP_RELAY_NONCE
exec sh -c "$0" relay "$@"
