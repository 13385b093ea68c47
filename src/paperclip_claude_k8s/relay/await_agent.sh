# Waits until the agent has ended: the relay notes that in the file $3. If its container dies, the kernel closes the relay's
# end of the pipe $1. A container that cannot be started never opens the pipe; without a limit of $2 seconds, this Pod and
# its Job would never end. After the agent, waits up to $4 seconds for its container, in which other processes may still
# write. Then sets gone to 1 if no process of that container is left: the agent can make the file $3, and write into the
# pipe. Needs the folder $tmp.
await_agent() {
  gone=
  [ -p "$1" ] || return 0
  (exec <"$1" && : >"$tmp/opened" && while read -r _; do :; done) 2>/dev/null &
  reader=$!
  rounds=$(($2 * 5)) more=$(($4 * 5)) unopened=0
  while kill -0 "$reader" 2>/dev/null; do
    if [ -e "$3" ]; then
      # a pipe that somebody holds is opened within a second
      [ "$more" -gt 0 ] && { [ -e "$tmp/opened" ] || [ "$unopened" -lt 5 ]; } || break
      more=$((more - 1)) unopened=$((unopened + 1))
    elif [ ! -e "$tmp/opened" ]; then
      [ "$rounds" -gt 0 ] || break
      rounds=$((rounds - 1))
    fi
    sleep 0.2
  done
  [ -e "$tmp/opened" ] && kill -0 "$reader" 2>/dev/null || gone=1
  kill -KILL "$reader" 2>/dev/null
}
