# Waits until the agent has ended. Needs the folder $tmp.
#   $1  the pipe that the relay holds open: when the agent's container ends in whatever way, the kernel closes that end
#   $2  seconds to wait until the pipe is opened, after which this Pod ends: a container that cannot start never opens it
#   $3  the file that the relay creates when the agent has ended; the agent could create it too
#   $4  seconds to wait after that for the end of the container, in which other processes may still write
# Sets gone to 1 if no process of that container is left, otherwise to nothing.
await_agent() {
  gone=
  [ -p "$1" ] || return 0
  (exec <"$1" && : >"$tmp/opened" && while read -r _; do :; done) 2>/dev/null &
  reader=$!
  rounds=$(($2 * 5)) more=$(($4 * 5)) unopened=0
  while kill -0 "$reader" 2>/dev/null; do
    if [ -e "$3" ]; then
      # if the relay holds the pipe, the reader has opened it within a second
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
