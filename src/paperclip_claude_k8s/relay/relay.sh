# Runs the agent ("$@") with its stdout in a file inside the Pod and copies that file to the container's log,
# completely: with a pipe as its stdout, Claude Code loses at exit whatever the pipe has not accepted yet.
# Three processes work side by side: this shell supervises and waits; `writer` is the only writer of the log; and
# `copier` keeps a copy on the shared volume, which may fail or hang at any time without stopping the other two.
#
# The log contains stdout unchanged. Between complete lines of stdout it has marked lines: the byte 0x1e, the nonce, and
#   e TEXT          a line of stderr
#   b BYTES LINES   a bookmark: bytes and newlines of stdout that are before this line in the log
# If the last line of stdout has no newline, 0x1e, the nonce and " n" are appended to it.
#
# `sleep 0.1`, `head -c`, `grep -a`, `stat -c`, `sha256sum -c` and /proc are not POSIX; coreutils and busybox have them
# on Linux.
# awk is only needed for the fields of the last result: gawk, mawk, busybox and the original awk all work.
set -u
dir=$PAPERCLIP_RELAY_DIR
prompt=$PAPERCLIP_RELAY_PROMPT
copy=${PAPERCLIP_RELAY_OUT:-}
pod=${PAPERCLIP_RELAY_POD:-}
only_pod=${PAPERCLIP_RELAY_ONLY_POD:-}
started=${PAPERCLIP_RELAY_STARTED:-}
volume=${PAPERCLIP_RELAY_VOLUME:-}
files=${PAPERCLIP_RELAY_FILES:-}
limit=${PAPERCLIP_RELAY_LIMIT:-0}
message=${PAPERCLIP_RELAY_MESSAGE:-/dev/termination-log}
bookmark=${PAPERCLIP_RELAY_BOOKMARK_SEC:-20}
copy_wait=${PAPERCLIP_RELAY_COPY_SEC:-10}
files_wait=${PAPERCLIP_RELAY_FILES_SEC:-60}
unset PAPERCLIP_RELAY_DIR PAPERCLIP_RELAY_PROMPT PAPERCLIP_RELAY_OUT PAPERCLIP_RELAY_VOLUME PAPERCLIP_RELAY_FILES \
  PAPERCLIP_RELAY_FILES_SEC \
  PAPERCLIP_RELAY_LIMIT PAPERCLIP_RELAY_MESSAGE PAPERCLIP_RELAY_BOOKMARK_SEC PAPERCLIP_RELAY_COPY_SEC \
  PAPERCLIP_RELAY_POD PAPERCLIP_RELAY_ONLY_POD PAPERCLIP_RELAY_STARTED

out=$dir/stdout
err=$dir/stderr
ended=$dir/ended
trouble=$dir/trouble
# each Pod of a Job has its own copy: FILE.ndjson becomes FILE.12345678.ndjson
[ -z "$copy" ] || [ -z "$pod" ] || copy=${copy%.ndjson}.$(printf %.8s "$pod").ndjson
# left there by start.sh, and removed before the agent starts
read -r nonce <"$dir/nonce"
rm -f "$dir/nonce"
mark=$(printf '\036%s' "$nonce")
newline='
'
# the log may exceed the limit by this much: what the agent prints after SIGTERM
cap=$((limit + 8388608))
# files of an earlier container in the same folder would report its end, not ours
rm -f "$ended" "$trouble" "$dir/limit" "$dir/counts" "$dir/copied" "$dir/changed"
: >"$out"
: >"$err"
# errors of this shell, such as a missing command, go to the agent's stderr
exec 2>>"$err"

# Sets pos to the offset of descriptor $1, without starting a process.
offset() {
  while read -r key pos; do
    [ "$key" != pos: ] || return 0
  done </proc/self/fdinfo/"$1"
}

# Whether the stdout that was sent to the log ends with a newline. A marked line may be inserted only then.
at_line_end() {
  if [ "$sent" != "$checked" ]; then
    checked=$sent at_end=
    if [ "$sent" -eq 0 ] ||
      [ "$(dd if="$out" bs=1 skip=$((sent - 1)) count=1 2>/dev/null; echo .)" = "$newline." ]; then
      at_end=1
    fi
  fi
  [ -n "$at_end" ]
}

# Sets ready to the number of bytes of stdout that may be sent to the log: those that the copy already has, so that
# readers find in the copy what the log loses. Sets ready to "all" if there is no copy, or if the copy has ended. If the
# copy has not caught up with stdout for a second, sets ready to "all" for the next minute. stuck and unpaced are in
# twentieths of a second.
set_ready() {
  ready=all
  [ -n "$copy" ] || return 0
  [ "$unpaced" -le 0 ] || return 0
  { read -r copied now <"$dir/copied"; } 2>/dev/null || copied=$before now=$beat
  [ "$now" != done ] || return 0
  if [ "$now" != "$beat" ]; then
    beat=$now stuck=0
  elif [ "$stuck" -ge 20 ]; then
    unpaced=1200
    return 0
  fi
  ready=$copied before=$copied
}

# Whether more output may be sent to the log.
has_room() {
  [ "$limit" -eq 0 ] || [ "$((sent + errors))" -lt "$cap" ]
}

# Sends to the log what is ready of stdout, at most 4 MiB. Sets moved if anything was sent, full if there may be more.
send() {
  moved= full=
  has_room || return 0
  if [ "$ready" = all ]; then
    dd bs=64k count=64 <&3 2>/dev/null
  elif [ "$ready" -gt "$sent" ]; then
    size=$((ready - sent))
    [ "$size" -le 4194304 ] || size=4194304
    dd bs="$size" count=1 <&3 2>/dev/null
  else
    return 0
  fi
  offset 3
  [ "$((pos - sent))" -lt 4194304 ] || full=1
  [ "$pos" = "$sent" ] || moved=1 sent=$pos
}

# Sends to the log at most 1 MiB of stderr. An incomplete last line stays in held, unless it is longer than 64 KiB. Sets
# more if there may be more.
send_stderr() {
  more=
  [ -s "$err" ] && has_room && at_line_end || return 0
  { printf %s "$held" && dd bs=64k count=16 <&5; } >"$dir/errors" 2>/dev/null
  offset 5
  size=$((pos - errors)) errors=$pos
  [ "$size" -ne 0 ] || return 0
  moved=1 held=
  if [ "$size" -gt 16384 ]; then
    [ "$size" -lt 1048576 ] || more=1 full=1
    send_block
    return
  fi
  while IFS= read -r line || {
    held=$line
    false
  }; do
    printf '%s e %s\n' "$mark" "$line"
  done <"$dir/errors"
  [ "${#held}" -le 65536 ] || send_held
}

# Sends the block of stderr in the file errors. The mark reaches sed through a pipe: arguments of a process can be seen
# by the agent.
send_block() {
  drop=
  if [ "$(tail -c 1 "$dir/errors" | tr '\000' x)" != "" ]; then
    held=$(tail -n 1 "$dir/errors" | tr -d '\000')
    drop='$d'
    if [ "${#held}" -gt 65536 ]; then
      held='' drop=
      echo >>"$dir/errors"
    fi
  fi
  printf 's/^/%s e /\n%s\n' "$mark" "$drop" | sed -f /dev/stdin "$dir/errors"
}

send_held() {
  [ -z "$held" ] || printf '%s e %s\n' "$mark" "$held"
  held=
}

# Reports in the log, once, what is wrong with the copy.
report_trouble() {
  if [ -z "$reported" ] && [ -s "$trouble" ] && at_line_end; then
    IFS= read -r line <"$trouble"
    printf '%s e paperclip relay: %s\n' "$mark" "$line"
    reported=1
  fi
}

# Adds the newlines since the last call to the variable lines. Fails if more was counted than has been sent.
count() {
  lines=$((lines + $(dd bs=64k <&4 2>/dev/null | wc -l)))
  offset 4
  [ "$pos" = "$sent" ]
}

# Stops the agent if stdout and stderr together exceed the limit: SIGTERM, then SIGKILL after 50 rounds, or as soon as
# the log has no room for more.
stop_at_limit() {
  [ "$limit" -gt 0 ] && [ "$rounds" -lt 50 ] || return 0
  [ "$((sent + errors))" -gt "$limit" ] || return 0
  if [ "$rounds" -eq 0 ]; then
    : >"$dir/limit"
    kill -TERM "$pid_of_agent"
  fi
  rounds=$((rounds + 1))
  has_room || rounds=50
  [ "$rounds" -ne 50 ] || kill -KILL "$pid_of_agent"
}

# Sleeps until the next round: ten rounds per second while there is output, else four. step and quiet are in
# twentieths of a second.
wait_a_round() {
  if [ "$quiet" -lt 40 ]; then
    step=2
    sleep 0.1
  else
    step=5
    sleep 0.25
  fi
  quiet=$((quiet + step))
}

writer() {
  trap '' TERM INT HUP
  LC_ALL=C
  exec 3<"$out" 4<"$out" 5<"$err"
  sent=0 errors=0 checked= at_end= lines=0 held= quiet=0 rounds=0 full= reported=
  step=2 beat= stuck=0 before=0 unpaced=0
  # the first line of the log is ours: by it a reader recognises a log that a server sends without timestamps
  printf '%s b 0 0\n' "$mark"
  while :; do
    set_ready
    # tested before sending: if the agent has ended already, nothing can follow the bytes that are sent next
    last=
    [ ! -e "$ended" ] || [ "$ready" != all ] || last=1
    send
    send_stderr
    report_trouble
    stop_at_limit
    [ -z "$full" ] || continue
    [ -z "$last" ] || break
    if [ -n "$moved" ]; then
      quiet=0
    elif [ "$quiet" -ge $((bookmark * 20)) ] && at_line_end && count; then
      printf '%s b %s %s\n' "$mark" "$sent" "$lines"
      quiet=0
    fi
    wait_a_round
    stuck=$((stuck + step)) unpaced=$((unpaced - step))
  done
  if ! at_line_end; then
    printf '%s n\n' "$mark"
    at_end=1
  fi
  while
    send_stderr
    [ -n "$more" ]
  do :; done
  send_held
  has_room || printf '%s e paperclip relay: the rest of the output is left out, because it exceeds logSizeLimit\n' "$mark"
  lines=$(head -c "$sent" "$out" | wc -l)
  echo "$sent $((lines)) $reported" >"$dir/counts"
}

# Records that the copy is not continued, for the reason $1.
give_up() {
  echo "the copy on the shared volume ends after $copied bytes: $1" >"$trouble"
}

# Copies stdout to descriptor 7 until the agent has ended, a write fails, or another process has changed the copy.
keep_copy() {
  set +C
  quiet=0 beat=0
  file=$(stat -L -c '%d %i' /proc/self/fd/7)
  while :; do
    last=
    [ ! -e "$ended" ] || last=1
    seen=$(stat -c '%d %i %s' "$copy" "$out" 2>"$dir/why")
    if [ "${seen%"$newline"*}" != "$file $copied" ]; then
      give_up "$copy was removed or changed by another process"
      return 1
    fi
    if [ "$limit" -gt 0 ] && [ "$copied" -ge "$cap" ]; then
      give_up "it exceeds logSizeLimit"
      return 1
    fi
    if [ "${seen##* }" != "$copied" ] || [ -n "$last" ]; then
      if ! dd bs=64k count=64 <&6 >&7 2>"$dir/why"; then
        offset 7
        copied=$pos
        IFS= read -r why <"$dir/why"
        give_up "$why"
        return 1
      fi
      offset 7
      [ "$pos" = "$copied" ] || quiet=0
      size=$((pos - copied)) copied=$pos
      [ "$size" -lt 4194304 ] || last=more
    fi
    # the number after the bytes grows each time the copy has caught up
    [ "$last" = more ] || beat=$((beat + 1))
    echo "$copied $beat" >"$dir/copied"
    case $last in
      more) ;;
      '') wait_a_round ;;
      *) return 0 ;;
    esac
  done
}

# Keeps the copy in a separate process, so that neither the log nor the agent waits for the shared volume.
copier() {
  trap '' TERM INT HUP
  umask 077
  copied=0
  exec 6<"$out"
  # a new file, never through an existing link: with -C the shell creates the file or fails
  set -C
  if ! { mkdir -p "${copy%/*}" && rm -f "$copy" && keep_copy 7>"$copy"; } 2>|"$dir/why"; then
    set +C
    IFS= read -r why <"$dir/why"
    [ -s "$trouble" ] || give_up "$why"
  fi
  echo "$copied done" >"$dir/copied"
}

# Prints the lines that can show the state of the run: results, answers of the model and beginnings of turns.
state_lines() {
  tr -d '\000' | grep -a -F -e '"type":"result"' -e '"type":"assistant"' -e '"subtype":"init"'
}

# Reads the output of state_lines, split at each quote, and looks only at the outermost keys of the objects: text of
# models and tools is inside strings or deeper. Prints the fields of the last result, or null for each if an answer
# or a turn followed it; fails if no line shows the state.
read_state() {
  awk '
    function judge(  type) {
      type = seen["type"]
      if (broken || !begun) {
      } else if (type == "s result") {
        if (!depth) { last = type; keep() }
      } else if (type == "s assistant") {
        if (seen["parent_tool_use_id"] !~ /^s ./) last = type
      } else if (type == "s system" && seen["subtype"] == "s init") {
        last = type
      }
      split("", seen)
      broken = begun = depth = quoted = named = 0
      key = ""
    }
    function keep() {
      session = chosen("session_id", "^s [0-9A-Za-z_-]+$", 1)
      subtype = chosen("subtype", "^s [a-z_]+$", 1)
      error = seen["is_error"] == "l true" ? "true" : "false"
      cost = chosen("total_cost_usd", "^l (0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?[0-9]+)?$", 0)
    }
    function chosen(name, shape, string,  value) {
      value = seen[name]
      if (value !~ shape || length(value) > 100) return "null"
      value = substr(value, 3)
      return string ? "\"" value "\"" : value
    }
    function outside(text, is_end,  value, up, down) {
      if (broken || (begun && !depth)) return
      if (!begun) {
        begun = depth = named = (text ~ /[{]$/)
        broken = !begun
        return
      }
      if (is_end && text == "") return
      if (is_end) sub(/[^][{}:,.+0-9A-Za-z-].*$/, "", text)
      if (text !~ /^[]}:,]/ || text ~ /[]}][[{]/ || (!is_end && text !~ /[]}[{:,]$/)) broken = 1
      if (key != "" && text != ":") {
        value = text
        sub(/^:/, "", value)
        sub(/[],}].*$/, "", value)
        seen[key] = "l " value
        key = ""
      }
      named = 0
      if (text == ":") return
      if (text != ",") {
        value = text
        up = gsub(/[[{]/, "", value)
        down = gsub(/[]}]/, "", value)
        depth += up - down
        if (depth < 0) broken = 1
      }
      named = (depth == 1 && text ~ /[{,]$/)
    }
    function inside(text) {
      if (named) key = text
      else if (key != "") { seen[key] = "s " text; key = "" }
      named = 0
    }
    BEGIN { RS = "\"" }
    {
      piece = $0
      while (cut = index(piece, "\n")) {
        if (!quoted) outside(substr(piece, 1, cut - 1), 1)
        judge()
        piece = substr(piece, cut + 1)
      }
      if (!quoted) {
        outside(piece, 0)
        quoted = 1
        held = ""
        next
      }
      if (substr(piece, length(piece)) == "\\") {
        slashes = piece
        sub(/^.*[^\\]/, "", slashes)
        if (length(slashes) % 2) {
          held = substr(held piece, 1, 200)
          next
        }
      }
      inside(substr(held piece, 1, 200))
      quoted = 0
    }
    END {
      judge()
      if (last == "") exit 1
      if (last != "s result") session = subtype = error = cost = "null"
      printf "\"last\":\"%s\",", last == "s result" ? "result" : last == "s system" ? "init" : "answer"
      printf "\"session\":%s,\"subtype\":%s,\"is_error\":%s,\"cost\":%s", session, subtype, error, cost
    }'
}

# Prints the fields of the run's result. Searches stdout from the end, in growing parts, until a line shows the state.
result_fields() {
  near=1048576
  while [ "$near" -lt "$bytes" ]; do
    # the first line may be incomplete
    tail -c "$near" "$out" | sed 1d | state_lines | read_state && return
    near=$((near * 16))
  done
  state_lines <"$out" | read_state || echo '"last":null,"session":null,"subtype":null,"is_error":null,"cost":null'
}

# Copies the listed files from the shared volume to this Pod, where no other agent can change them, and verifies the
# copies. A line of the list has the sha256, the size, "x" if the file is executable, and the name; or a folder's path.
# What could not be copied fails the verification.
copy_files() {
  set --
  while read -r hash size mode name; do
    if [ "$hash" = folder ]; then
      copy_small "$@"
      set --
      folder=$name
      mkdir -p "$dir/volume/$folder" || return
    else
      echo "$hash  $dir/volume/$folder/$name" >&9
      if [ "$size" -gt 65536 ]; then
        head -c "$size" <"$volume/$folder/$name" >"$dir/volume/$folder/$name"
      elif [ -f "$volume/$folder/$name" ]; then
        set -- "$@" "$volume/$folder/$name"
        if [ "$#" -ge 100 ]; then
          copy_small "$@"
          set --
        fi
      fi
    fi
  done <"$files" 9>"$dir/sums"
  copy_small "$@"
  make_executable
  sha256sum -c "$dir/sums"
}

# Copies small files into the folder $folder. One process copies many of them, because processes start slowly in some
# sandboxes. If it fails, each file is tried alone, so that the others do not seem to be missing too.
copy_small() {
  [ "$#" -ne 0 ] || return 0
  copy_limited "$@" 2>/dev/null && return
  for path; do
    copy_limited "$path"
  done
  return 0
}

# Copies at most 64 KiB of each file, because other agents may have enlarged it: 128 blocks of 512 bytes.
copy_limited() {
  (ulimit -f 128 && exec cp "$@" "$dir/volume/$folder/")
}

make_executable() {
  while read -r hash size mode name; do
    if [ "$hash" = folder ]; then
      folder=$name
    elif [ "$mode" = x ] && [ -f "$dir/volume/$folder/$name" ] && [ ! -x "$dir/volume/$folder/$name" ]; then
      chmod 755 "$dir/volume/$folder/$name"
    fi
  done <"$files"
}

# Copies the files for a limited time: opening a pipe, or a file on a volume that hangs, may take forever. Fails, with
# the reason in the file changed, if they are not what Paperclip wrote.
take_files() {
  [ -n "$files" ] || return 0
  copy_files >"$dir/check" 2>&1 &
  # so that a signal stops the copying, as it later stops the agent
  pid_of_agent=$!
  (sleep "$files_wait" && kill -KILL "$pid_of_agent") >/dev/null 2>&1 &
  timer=$!
  await "$pid_of_agent"
  pid_of_agent=
  kill "$timer" 2>/dev/null
  [ "$code" -ne 0 ] || return 0
  { grep -v -e ': OK$' -e 'File size limit exceeded' "$dir/check" || echo "$volume: it could not be read in time"; } |
    sed "s|$dir/volume/||" | head -n 1 |
    tr -cd 'A-Za-z0-9 .,:;/_()-' | head -c 300 >"$dir/changed"
  return 1
}

# Collects the values of the summary.
summarize() {
  LC_ALL=C
  export LC_ALL
  bytes=0 lines=0 reported=
  read -r bytes lines reported <"$dir/counts"
  hash=
  [ "$bytes" -gt 2147483648 ] || hash=$(head -c "$bytes" "$out" | sha256sum)
  hash=${hash%% *}
  limit_hit=false
  [ ! -e "$dir/limit" ] || limit_hit=true
  fields=$(result_fields)
}

# Writes the summary, with the present state of the copy, to the termination message, which remains if the log is lost.
write_summary() {
  copied=null copy_trouble=null
  if [ -n "$copy" ]; then
    copied=
    [ ! -s "$dir/copied" ] || read -r copied _ <"$dir/copied"
    copied=${copied:-0}
    [ ! -s "$trouble" ] || copy_trouble="\"$(head -n 1 "$trouble" | tr -cd 'A-Za-z0-9 .,:;/_()-' | head -c 400)\""
  fi
  changed=null session=null
  [ ! -s "$dir/session" ] || session="\"$(cat "$dir/session")\""
  [ ! -s "$dir/changed" ] || changed="\"$(cat "$dir/changed")\""
  printf '{"relay":"%s","bytes":%s,"lines":%s,"sha256":%s,"exit":%s,"limit":%s,"changed":%s,"session_trouble":%s,%s,"copied":%s,"copy_trouble":%s}\n' \
    "$nonce" "$bytes" "$lines" "$([ -n "$hash" ] && echo "\"$hash\"" || echo null)" "$code" "$limit_hit" "$changed" \
    "$session" "$fields" "$copied" "$copy_trouble" >"$message"
}

# Waits until the copy is complete, for a limited time, so that a hanging volume does not keep the Pod running.
await_copy() {
  rounds=$((copy_wait * 10))
  while copied= state= && [ -s "$dir/copied" ] && read -r copied state <"$dir/copied"; [ "$state" != done ]; do
    rounds=$((rounds - 1))
    if [ "$rounds" -lt 0 ]; then
      kill -KILL "$pid_of_copier"
      copied=${copied:-0}
      give_up "the volume does not take more in time"
      return
    fi
    sleep 0.1
  done
}

# Waits until process $1 has ended, and sets code to its exit code. A wait that a signal interrupts is repeated,
# because it returns the signal's number instead.
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
if [ -n "$only_pod" ] && [ "$only_pod" != "$pod" ]; then
  echo "paperclip relay: Pod $only_pod of this Job has run the agent already; this one does not start it" >&2
  code=67 copy=
  writer &
  pid_of_writer=$!
elif ! take_files; then
  code=68 copy=
  if [ -n "$stop" ]; then
    rm -f "$dir/changed"
    code=143
  else
    echo "paperclip relay: a file on the shared volume is not what Paperclip wrote, so the agent was not started:" \
      "$(cat "$dir/changed")" >&2
  fi
  writer &
  pid_of_writer=$!
elif [ -r "$prompt" ]; then
  # left there by start.sh
  [ ! -s "$dir/session" ] || echo "paperclip relay: this session ends with its Pod: $(cat "$dir/session")" >&2
  [ ! -s "$dir/note" ] || cat "$dir/note" >&2
  "$@" <"$prompt" >>"$out" 8>&- &
  pid_of_agent=$!
  # the start mark shows the Paperclip host that the agent has started, long before a busy kubelet does; it is made in
  # the background, because the volume may hang
  [ -z "$started" ] || [ -z "$pod" ] ||
    { (umask 077 && mkdir -p "$started" && set -C && : >"$started/$pod") 2>/dev/null & }
  [ -z "$stop" ] || kill -TERM "$pid_of_agent"
  if [ -n "$copy" ]; then
    copier >/dev/null &
    pid_of_copier=$!
  fi
  writer &
  pid_of_writer=$!
  await "$pid_of_agent"
else
  echo "paperclip relay: there is no prompt at $prompt; check the run Secret and its mount" >&2
  code=66 copy=
  writer &
  pid_of_writer=$!
fi
pid_of_agent=
agent_code=$code
: >"$ended"
await "$pid_of_writer"
code=$agent_code
summarize
write_summary
if [ -n "$copy" ]; then
  await_copy
  write_summary
  # trouble that occurred after the writer ended has not been reported yet
  [ -n "$reported" ] || [ ! -s "$trouble" ] || printf '%s e paperclip relay: %s\n' "$mark" "$(head -n 1 "$trouble")"
fi
exit "$code"
