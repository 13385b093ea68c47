# Runs the agent ("$@") with its stdout in a file, and copies that file to the container's log to the last byte:
# the CLI drops at exit what a pipe has not taken. One process supervises and waits, another is the only writer.
# `sleep 0.1`, `head -c` and `grep -o` are not POSIX; coreutils and busybox have them.
set -u
dir=$PAPERCLIP_RELAY_DIR
prompt=$PAPERCLIP_RELAY_PROMPT
out=${PAPERCLIP_RELAY_OUT:-$dir/stdout}
nonce=$PAPERCLIP_RELAY_NONCE
limit=${PAPERCLIP_RELAY_LIMIT:-0}
message=${PAPERCLIP_RELAY_MESSAGE:-/dev/termination-log}
bookmark=${PAPERCLIP_RELAY_BOOKMARK_SEC:-20}
unset PAPERCLIP_RELAY_DIR PAPERCLIP_RELAY_PROMPT PAPERCLIP_RELAY_OUT PAPERCLIP_RELAY_NONCE \
  PAPERCLIP_RELAY_LIMIT PAPERCLIP_RELAY_MESSAGE PAPERCLIP_RELAY_BOOKMARK_SEC

err=$dir/stderr
ended=$dir/ended
mark=$(printf '\036%s' "$nonce")
newline='
'
mkdir -p "$dir"
# what an earlier container of the same folder left would tell of its end, not of ours
rm -f "$ended" "$dir/limit" "$dir/counts" "$dir/result"
: >"$err"
# what this shell complains about, such as a command that is not there, is the agent's stderr
exec 2>>"$err"
if ! (umask 077 && mkdir -p "${out%/*}" && : >"$out"); then
  echo "paperclip relay: $out cannot be written, the output stays in $dir" >&2
  out=$dir/stdout
  : >"$out"
fi

# Sets pos to the offset of descriptor $1; a builtin read, no process.
offset() {
  while read -r key pos; do
    [ "$key" != pos: ] || return 0
  done </proc/self/fdinfo/"$1"
}

# Whether what was sent ends with a newline: only there a marked line may stand.
between() {
  if [ "$sent" != "$looked" ]; then
    looked=$sent edge=
    if [ "$sent" -eq 0 ] ||
      [ "$(dd if="$out" bs=1 skip=$((sent - 1)) count=1 2>/dev/null; echo .)" = "$newline." ]; then
      edge=1
    fi
  fi
  [ -n "$edge" ]
}

# Copies what is there, at most 4 MiB; sets moved when it was something, and full when there may be more.
copy() {
  dd bs=64k count=64 <&3 2>/dev/null
  offset 3
  moved= full=
  [ "$((pos - sent))" -lt 4194304 ] || full=1
  [ "$pos" = "$sent" ] || moved=1 sent=$pos
}

# Copies at most $1 whole lines of stderr; a line that is not whole yet stays in held.
complain() {
  left=$1
  while [ "$left" -gt 0 ]; do
    left=$((left - 1))
    if [ -z "$whole" ]; then
      line=
      IFS= read -r line <&5 && whole=1
      held=$held$line
      [ -n "$whole" ] || return 0
    fi
    between || return 0
    printf '%s e %s\n' "$mark" "$held"
    held='' whole='' moved=1
  done
}

# Counts lines up to what was sent; fails when the file has grown meanwhile.
count() {
  lines=$((lines + $(dd bs=64k <&4 2>/dev/null | wc -l)))
  offset 4
  [ "$pos" = "$sent" ]
}

stop_at_limit() {
  [ "$limit" -gt 0 ] && [ "$over" -lt 50 ] || return 0
  offset 5
  if [ "$sent" -gt "$limit" ] || [ "$pos" -gt "$limit" ]; then
    : >"$dir/limit"
    [ "$over" -ne 0 ] || kill -TERM "$pid_of_agent"
    over=$((over + 1))
    [ "$over" -ne 50 ] || kill -KILL "$pid_of_agent"
  fi
}

writer() {
  trap '' TERM INT HUP
  LC_ALL=C
  exec 3<"$out" 4<"$out" 5<"$err"
  sent=0 looked= edge= lines=0 held= whole= quiet=0 over=0 full=
  while :; do
    # looked at before the last copy, so that nothing can come after it
    last=
    [ ! -e "$ended" ] || last=1
    copy
    busy=$moved
    complain 200
    stop_at_limit
    [ -z "$full" ] || continue
    [ -z "$last" ] || break
    if [ -n "$moved$busy" ]; then
      quiet=0
    elif [ "$quiet" -ge $((bookmark * 20)) ] && between && count; then
      printf '%s b %s %s\n' "$mark" "$sent" "$lines"
      quiet=0
    fi
    # ten looks a second while something comes, four when it is quiet; quiet counts twentieths of a second
    if [ "$quiet" -lt 40 ]; then
      sleep 0.1
      quiet=$((quiet + 2))
    else
      sleep 0.25
      quiet=$((quiet + 5))
    fi
  done
  if ! between; then
    printf '%s n\n' "$mark"
    edge=1
  fi
  while
    complain 1000
    [ "$left" -eq 0 ]
  do :; done
  [ -z "$held" ] || printf '%s e %s\n' "$mark" "$held"
  looked=
  lines=$(head -c "$sent" "$out" | wc -l)
  echo "$sent $((lines))" >"$dir/counts"
}

# One field of the last result line: $1 its name, $2 the shape of a harmless value.
field() {
  value=$(grep -o "\"$1\":$2" "$dir/result" 2>/dev/null | head -n 1)
  value=${value#*:}
  echo "${value:-null}"
}

# The verdict that survives the loss of the log.
summarize() {
  bytes=0 lines=0
  read -r bytes lines <"$dir/counts"
  hash=
  [ "$bytes" -gt 2147483648 ] || hash=$(head -c "$bytes" "$out" | sha256sum)
  hash=${hash%% *}
  tail -c 4194304 "$out" | grep '^{"type":"result"' | tail -n 1 >"$dir/result"
  [ -s "$dir/result" ] || [ "$bytes" -le 4194304 ] ||
    grep '^{"type":"result"' "$out" | tail -n 1 >"$dir/result"
  over=false
  [ ! -e "$dir/limit" ] || over=true
  printf '{"relay":"%s","bytes":%s,"lines":%s,"sha256":%s,"exit":%s,"limit":%s,"session":%s,"subtype":%s,"is_error":%s,"cost":%s}\n' \
    "$nonce" "$bytes" "$lines" "$([ -n "$hash" ] && echo "\"$hash\"" || echo null)" "$code" "$over" \
    "$(field session_id '"[0-9A-Za-z_-]*"')" "$(field subtype '"[a-z_]*"')" \
    "$(field is_error '[a-z]*')" "$(field total_cost_usd '[0-9][0-9.eE+-]*')" >"$message"
}

# Waits for $1 whatever signals come in between; sets code. An interrupted wait tells nothing of the process.
await() {
  code=
  while :; do
    signalled=
    wait "$1"
    got=$?
    [ "$got" -ne 127 ] || [ -z "$code" ] || return 0
    code=$got
    [ -n "$signalled" ] || return 0
  done
}

pid_of_agent=
stop=
trap 'signalled=1 stop=1; [ -z "$pid_of_agent" ] || kill -TERM "$pid_of_agent"' TERM INT HUP
if [ -r "$prompt" ]; then
  "$@" <"$prompt" >>"$out" &
  pid_of_agent=$!
  [ -z "$stop" ] || kill -TERM "$pid_of_agent"
  writer &
  pid_of_writer=$!
  await "$pid_of_agent"
else
  echo "paperclip relay: there is no prompt at $prompt; check the run Secret and its mount" >&2
  code=66
  writer &
  pid_of_writer=$!
fi
pid_of_agent=
agent_code=$code
: >"$ended"
await "$pid_of_writer"
code=$agent_code
summarize
exit "$code"
