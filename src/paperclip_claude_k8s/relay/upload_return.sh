# Prints what the agent has changed in an uploaded folder, after the agent has ended. Runs in a container of its own, which
# has mounted the folder read-only. The agent wrote the folder: nothing in it is executed, and no link is followed. What is
# printed is examined again by the Paperclip host. relay/upload_scripts.py describes the format.
set -u
LC_ALL=C
export LC_ALL
dir=$PAPERCLIP_UPLOAD_DIR
sync=$PAPERCLIP_UPLOAD_SYNC
limit=$PAPERCLIP_UPLOAD_LIMIT
max_entries=$PAPERCLIP_UPLOAD_ENTRIES
most_packed=${PAPERCLIP_UPLOAD_PACKED:-100663296}
keep_seconds=${PAPERCLIP_UPLOAD_KEEP_SEC:-86400}
repeat_pause=${PAPERCLIP_UPLOAD_PAUSE_SEC:-60}
tmp=$(mktemp -d) || exit 75
trap 'rm -rf "$tmp"' EXIT
stopped=
# If the Pod is deleted, the time until SIGKILL is used to collect and print the changes.
trap 'stopped=1' TERM INT HUP

fail() {
  echo "paperclip-changes failed $1"
  wait_for_host
  exit 75
}

# Waits until the Pod has to end, or until the changes have to be printed again: then `repeat_in` is 0. A host that has the
# changes deletes the Job. If none takes them, the Pod ends after keep_seconds. A Pod that is being deleted stays for three
# seconds, so that the host can still open its log.
wait_for_host() {
  [ -z "$stopped" ] || sleep 3
  while [ -z "$stopped" ] && [ "$keep_seconds" -gt 0 ]; do
    sleep 1
    keep_seconds=$((keep_seconds - 1))
    repeat_in=$((repeat_in - 1))
    [ "$repeat_in" -ne 0 ] || return 0
  done
  repeat_in=-1
}

# Prints the paths of regular files, except files in .git, files above the limit, and paths with control characters or
# backslashes.
regular() {
  find . -name .git -prune -o -type f ! -path '*[[:cntrl:]]*' ! -path '*\\*' ! -size "+$((limit))c" "$@" -print
}

# Prints the paths of the list $1 that git does not ignore.
without_ignored() {
  if [ -z "${PAPERCLIP_UPLOAD_IGNORE:-}" ] || ! command -v git >/dev/null 2>&1; then
    cat "$1"
    return
  fi
  printf '%s\n' "$PAPERCLIP_UPLOAD_EXCLUDES" >"$tmp/excludes"
  # in a repository of this container, whose configuration the agent has not written
  HOME=$tmp XDG_CONFIG_HOME=$tmp GIT_CONFIG_NOSYSTEM=1 git init -q --bare "$tmp/own" >/dev/null 2>&1
  tr '\n' '\000' <"$1" | HOME=$tmp XDG_CONFIG_HOME=$tmp GIT_CONFIG_NOSYSTEM=1 timeout -s KILL 120 git --git-dir="$tmp/own" \
    --work-tree=. -c core.bare=false -c core.fsmonitor=false -c core.hooksPath=/dev/null \
    -c core.excludesFile="$tmp/excludes" check-ignore --no-index -z --stdin 2>/dev/null | tr '\000' '\n' >"$tmp/ignored"
  awk 'FNR == NR && FILENAME == ARGV[1] { ignored[$0] = 1; next } !($0 in ignored)' "$tmp/ignored" "$1"
}

count() {
  n=$(wc -l <"$1")
  echo "$((n))"
}

collect() {
  regular >"$tmp/all" 2>/dev/null
  regular -perm -100 >"$tmp/x" 2>/dev/null
  cut -c 68- <"$sync/sums" >"$tmp/before"
  # what is new, without ignored files
  awk 'FILENAME == ARGV[1] { known[$0] = 1; next } !($0 in known)' "$tmp/before" "$tmp/all" >"$tmp/new"
  without_ignored "$tmp/new" >"$tmp/candidates"
  ignored=$(($(count "$tmp/new") - $(count "$tmp/candidates")))
  awk 'FILENAME == ARGV[1] { known[$0] = 1; next } $0 in known' "$tmp/before" "$tmp/all" >"$tmp/old"
  # old files first: if not everything fits, changes are more important than new files
  cat "$tmp/old" "$tmp/candidates" >"$tmp/ordered"
  head -n "$((max_entries * 2))" "$tmp/ordered" >"$tmp/hashed"
  tr '\n' '\000' <"$tmp/hashed" | timeout -s KILL 900 xargs -0 -r sha256sum -- 2>/dev/null | sed 's/^\([0-9a-f]*\) [ *]/\1 /' >"$tmp/sums"
  tr '\n' '\000' <"$tmp/hashed" | xargs -0 -r stat -c '%s %n' -- 2>/dev/null >"$tmp/sizes"
  awk -v limit="$limit" -v max_entries="$max_entries" -v kept="$tmp/kept" -v too_large="$tmp/too_large" '
    BEGIN { printf "" >kept; printf "" >too_large }
    FILENAME == ARGV[1] { path = substr($0, 68); base[path] = substr($0, 1, 64); mode[path] = substr($0, 66, 1); next }
    FILENAME == ARGV[2] { x[$0] = 1; next }
    FILENAME == ARGV[3] { cut = index($0, " "); size[substr($0, cut + 1)] = substr($0, 1, cut - 1); next }
    {
      hash = substr($0, 1, 64); path = substr($0, 66)
      now = (path in x) ? "x" : "-"
      if (path in base && base[path] == hash && mode[path] == now) next
      if (!(path in size)) next
      if (total + size[path] > limit || files >= max_entries) { print path >too_large; next }
      total += size[path]; files++
      print path >kept
      print "f", (path in base) ? base[path] : "-", hash, now, size[path], path
    }' "$sync/sums" "$tmp/x" "$tmp/sizes" "$tmp/sums" >"$tmp/list"
  # files without a sum: there was no time for it, or the agent made them unreadable
  awk 'FILENAME == ARGV[1] { seen[substr($0, 66)] = 1; next } !($0 in seen)' "$tmp/sums" "$tmp/hashed" >"$tmp/unread"
  tail -n "+$((max_entries * 2 + 1))" "$tmp/ordered" >>"$tmp/unread"
  awk 'FILENAME == ARGV[1] { present[$0] = 1; next } !(substr($0, 68) in present)' "$tmp/all" "$sync/sums" >"$tmp/absent"
  while IFS= read -r line; do
    path=${line#* ? }
    [ -e "$path" ] || [ -L "$path" ] || echo "d ${line%% *} $path"
  done <"$tmp/absent" | head -n "$max_entries" >>"$tmp/list"
  find . -name .git -prune -o -type f -size "+$((limit))c" -print 2>/dev/null | tr -c 'a-zA-Z0-9\n' _ >>"$tmp/too_large"
  find . -name .git -prune -o -type l ! -path '*[[:cntrl:]]*' -print 2>/dev/null >"$tmp/links"
  links=$(awk 'FILENAME == ARGV[1] { known[$0] = 1; next } !($0 in known) { n++ } END { print n + 0 }' "$sync/links" "$tmp/links")
  special=$(find . -name .git -prune -o ! -type f ! -type d ! -type l -print 2>/dev/null | tr -dc '\n' | wc -c)
  odd=$(find . -name .git -prune -o -type f \( -path '*[[:cntrl:]]*' -o -path '*\\*' \) -exec echo x \; 2>/dev/null | wc -l)
  changed_in_git=$(find . -path '*/.git/*' -type f -newer "$sync/unpacked" -exec echo x \; 2>/dev/null | wc -l)
  {
    cat "$tmp/list"
    echo "left large $(count "$tmp/too_large")"
    echo "left unread $(count "$tmp/unread")"
    echo "left links $((links))"
    echo "left special $((special))"
    echo "left odd $((odd))"
    echo "left git $((changed_in_git))"
    echo "left ignored $ignored"
    echo .
  } >"$tmp/head"
  { cat "$tmp/head" && tr '\n' '\000' <"$tmp/kept" | timeout -s KILL 900 xargs -0 -r cat -- 2>/dev/null; } | gzip -1 -c >"$tmp/packed"
  size=$(($(wc -c <"$tmp/packed")))
}

# Prints the packed changes once.
send() {
  echo "paperclip-changes $size $sum"
  base64 <"$tmp/packed" | tr -d '\r' | awk '
    { line = line $0 }
    NR % 60 == 0 { print n++ " " line; line = "" }
    END { if (line != "") print n++ " " line }'
  echo "paperclip-changes end"
}

repeat_in=-1
for tool in awk base64 cat cut find gzip head sed sha256sum stat tail timeout tr wc xargs; do
  command -v "$tool" >/dev/null 2>&1 || fail "the image has no $tool"
done
await_agent "$sync/alive" "${PAPERCLIP_UPLOAD_START_SEC:-3600}" "$PAPERCLIP_UPLOAD_ENDED" 30
cd "$dir" 2>/dev/null || fail "the folder is gone"
collect || fail "they could not be collected"
if [ "$size" -gt "$most_packed" ]; then
  # The host refuses so much. With this limit the changes are small enough, even if the files cannot be compressed.
  limit=$((most_packed - most_packed / 8))
  collect || fail "they could not be collected"
fi
sum=$(sha256sum <"$tmp/packed")
sum=${sum%% *}
while :; do
  send
  # A log is rotated at 10 MiB, and a host that connects later misses what was before. Packed changes of 5 MB, printed in
  # Base64, can be that long, so they are printed again.
  repeat_in=-1
  [ "$size" -lt 5000000 ] || repeat_in=$repeat_pause
  repeat_pause=$((repeat_pause * 2))
  [ "$repeat_pause" -le 900 ] || repeat_pause=900
  wait_for_host
  [ "$repeat_in" -eq 0 ] || break
done
exit 0
