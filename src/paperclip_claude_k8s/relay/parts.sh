# Functions to unpack what the Paperclip host has sent in parts, before the agent starts. The sha256 shows any change.
set -u
umask 022
LC_ALL=C
export LC_ALL
message=${PAPERCLIP_UPLOAD_MESSAGE:-/dev/termination-log}
dir=$PAPERCLIP_UPLOAD_DIR

fail() {
  printf '%s\n' "$1" | tr -c ' -~\n' '?' | head -c 1000 >"$message"
  printf 'paperclip: %s\n' "$1" >&2
  exit 75
}

need() {
  for tool in cat sha256sum gzip tar tr head "$@"; do
    command -v "$tool" >/dev/null 2>&1 || fail "the image has no $tool"
  done
}

verify() {
  sum=$(cat "$PAPERCLIP_UPLOAD_PARTS"/* | sha256sum) || fail "the uploaded parts cannot be read"
  [ "${sum%% *}" = "$PAPERCLIP_UPLOAD_SHA256" ] || fail "the uploaded parts are not what the Paperclip host has sent"
}

unpack() {
  cat "$PAPERCLIP_UPLOAD_PARTS"/* | gzip -dc | tar -x -o -f - -C "$1"
}

fail_to_unpack() {
  fail "$1 cannot be unpacked: $(printf %s "$2" | tr '\n' ' ' | head -c 300)"
}
