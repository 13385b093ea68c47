# Unpacks an uploaded folder before the agent starts. Runs in an init container. Everything that is unpacked was packed by
# the Paperclip host, which leaves out links that lead out of the folder; the sha256 proves that nothing was changed.
set -u
umask 022
LC_ALL=C
export LC_ALL
message=${PAPERCLIP_UPLOAD_MESSAGE:-/dev/termination-log}
dir=$PAPERCLIP_UPLOAD_DIR
top=${dir%/*}
sync=$PAPERCLIP_UPLOAD_SYNC

fail() {
  printf '%s\n' "$1" | tr -c ' -~\n' '?' | head -c 1000 >"$message"
  printf 'paperclip workspace: %s\n' "$1" >&2
  exit 75
}

for tool in cat sha256sum gzip tar mkfifo mv tr head; do
  command -v "$tool" >/dev/null 2>&1 || fail "the image has no $tool"
done
sum=$(cat "$PAPERCLIP_UPLOAD_PARTS"/* | sha256sum) || fail "the uploaded parts cannot be read"
[ "${sum%% *}" = "$PAPERCLIP_UPLOAD_SHA256" ] || fail "the uploaded parts are not what the Paperclip host has sent"
rm -rf "$dir" "$sync/alive"
why=$( (cat "$PAPERCLIP_UPLOAD_PARTS"/* | gzip -dc | tar -x -o -f - -C "$top") 2>&1) && [ -d "$dir" ] &&
  why=$(mv "$top/.paperclip-sums" "$sync/sums" 2>&1 && mv "$top/.paperclip-links" "$sync/links" 2>&1) &&
  why=$(mkfifo "$sync/alive" 2>&1) || fail "it cannot be unpacked: $(printf %s "$why" | tr '\n' ' ' | head -c 300)"
# Earlier than what the agent writes, by a second because busybox compares whole seconds.
: >"$sync/unpacked"
touch -d "@$(($(date +%s) - 1))" "$sync/unpacked" 2>/dev/null || :
