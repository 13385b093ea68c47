# Unpacks an uploaded folder. Runs in an init container, after parts.sh. Everything that is unpacked was packed by the
# Paperclip host, which leaves out links that lead out of the folder.
top=${dir%/*}
sync=$PAPERCLIP_UPLOAD_SYNC
need mkfifo mv
verify
rm -rf "$dir" "$sync/alive"
why=$( (unpack "$top") 2>&1) && [ -d "$dir" ] &&
  why=$(mv "$top/.paperclip-sums" "$sync/sums" 2>&1 && mv "$top/.paperclip-links" "$sync/links" 2>&1) &&
  why=$(mkfifo "$sync/alive" 2>&1) || fail_to_unpack it "$why"
# A file that is older than all that the agent writes, by a whole second because busybox compares whole seconds.
: >"$sync/unpacked"
touch -d "@$(($(date +%s) - 1))" "$sync/unpacked" 2>/dev/null || :
