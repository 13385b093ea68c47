# Starts the relay, whose script is in the same folder, for the agent "$@". The agent may read /proc/1/environ, which shows
# the environment with which that process was started. So this shell replaces itself by one without the nonce, and leaves
# the nonce in a file in the Pod's own folder, which the relay removes before the agent starts.
# Without one of these programs, the relay would lose the agent's output without a message, so the agent is not started.
lacks=
for tool in cat dd head mkdir rm sleep wc; do
  command -v "$tool" >/dev/null 2>&1 || { lacks=1 && echo "paperclip relay: $tool: not found" >&2; }
done
[ -z "$lacks" ] || exit 127
(umask 077 && mkdir -p "$PAPERCLIP_RELAY_DIR" && echo "$PAPERCLIP_RELAY_NONCE" >"$PAPERCLIP_RELAY_DIR/nonce")
# Creates Claude Code's folders on the session volume, unreadable for other users. If the folders cannot be created or
# written, the agent gets folders in this Pod, and the relay reports the reason.
: >"$PAPERCLIP_RELAY_DIR/session"
: >"$PAPERCLIP_RELAY_DIR/note"
if [ -n "${PAPERCLIP_RELAY_SESSION:-}" ] && ! (
  umask 077
  mkdir -p "$CLAUDE_CONFIG_DIR" "$XDG_CACHE_HOME" && { chmod 700 "$CLAUDE_CONFIG_DIR" "$XDG_CACHE_HOME" || :; } &&
    [ -w "$CLAUDE_CONFIG_DIR" ] && [ -w "$XDG_CACHE_HOME" ]
) 2>"$PAPERCLIP_RELAY_DIR/why"; then
  read -r why <"$PAPERCLIP_RELAY_DIR/why" || why="$PAPERCLIP_RELAY_SESSION cannot be written"
  echo "the session volume cannot be used: $why" | tr -cd 'A-Za-z0-9 .,:;/_()-' | head -c 300 >"$PAPERCLIP_RELAY_DIR/session"
  CLAUDE_CONFIG_DIR=$PAPERCLIP_RELAY_DIR/config XDG_CACHE_HOME=$PAPERCLIP_RELAY_DIR/cache
  export CLAUDE_CONFIG_DIR XDG_CACHE_HOME
  (umask 077 && mkdir -p "$CLAUDE_CONFIG_DIR" "$XDG_CACHE_HOME")
fi
# The relay reports an empty working directory in which the agent should find the project's files.
if [ -n "${PAPERCLIP_RELAY_EXPECT:-}" ]; then
  found=
  for entry in ./* ./.[!.]*; do
    [ ! -e "$entry" ] || found=1
  done
  [ -n "$found" ] || echo "paperclip relay: the working directory $PWD is empty" >"$PAPERCLIP_RELAY_DIR/note"
fi
# Another container reads this pipe, and reaches its end when this container has ended, in whatever way.
[ ! -p "${PAPERCLIP_RELAY_ALIVE:-}" ] || exec 8<>"$PAPERCLIP_RELAY_ALIVE"
unset PAPERCLIP_RELAY_NONCE PAPERCLIP_RELAY_SESSION PAPERCLIP_RELAY_ALIVE PAPERCLIP_RELAY_EXPECT
# A shell reads a script file while it runs. The relay's shell gets the whole text, so that no process can change it later.
exec sh -c "$(cat "${0%/*}/relay.sh")" relay "$@"
