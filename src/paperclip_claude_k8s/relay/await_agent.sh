# Waits until the agent has ended: the relay notes that in the file $3. If its container dies, the kernel closes the relay's
# end of the pipe $1. A container that cannot be started never opens the pipe; without a limit of $2 seconds, this Pod and
# its Job would never end. After the agent, waits up to $4 seconds for its container, in which other processes may still
# write. Needs the folder $tmp.
await_agent() {
  [ -p "$1" ] || return 0
  (exec <"$1" && : >"$tmp/opened" && read -r _) 2>/dev/null &
  reader=$!
  rounds=$(($2 * 5)) more=$(($4 * 5))
  while kill -0 "$reader" 2>/dev/null; do
    if [ -e "$3" ]; then
      [ -e "$tmp/opened" ] && [ "$more" -gt 0 ] || break
      more=$((more - 1))
    elif [ ! -e "$tmp/opened" ]; then
      [ "$rounds" -gt 0 ] || break
      rounds=$((rounds - 1))
    fi
    sleep 0.2
  done
  kill -KILL "$reader" 2>/dev/null
}
