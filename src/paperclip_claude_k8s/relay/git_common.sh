# Functions that the scripts for cloning and pushing share: credentials, options of git, texts of reports.
# Values that authors of configs, agents or servers choose arrive in variables, and are never part of the script.
set -uf
url=$PAPERCLIP_GIT_URL
dir=$PAPERCLIP_GIT_DIR
sync=$PAPERCLIP_GIT_SYNC
secret=${PAPERCLIP_GIT_SECRET:-}
nonce=$PAPERCLIP_GIT_NONCE
message=${PAPERCLIP_GIT_MESSAGE:-/dev/termination-log}
umask 022
# a command that limits the time of git; empty: none
limited=
LC_ALL=C
GIT_TERMINAL_PROMPT=0 GIT_OPTIONAL_LOCKS=0 GIT_LFS_SKIP_SMUDGE=1 GIT_TEMPLATE_DIR='' GIT_ALLOW_PROTOCOL=$PAPERCLIP_GIT_PROTOCOLS
# in the container's own file system, which no other container sees
tmp=$(mktemp -d) || exit 75
trap 'rm -rf "$tmp"' EXIT
# a folder in which git finds no repository
cd "$tmp" || exit 75
HOME=$tmp XDG_CONFIG_HOME=$tmp GIT_CEILING_DIRECTORIES=$tmp
GIT_ASKPASS=$tmp/askpass SSH_ASKPASS=$tmp/askpass
export LC_ALL GIT_TERMINAL_PROMPT GIT_OPTIONAL_LOCKS GIT_LFS_SKIP_SMUDGE GIT_TEMPLATE_DIR GIT_ALLOW_PROTOCOL HOME \
  XDG_CONFIG_HOME GIT_CEILING_DIRECTORIES GIT_ASKPASS SSH_ASKPASS

# Prints standard input as one line that needs no escaping in JSON: at most $1 bytes, or 1200.
plain() {
  tr '\n\t"\\' "  ''" | tr -c ' -~' '?' | head -c "${1:-1200}" | sed 's/ *$//'
}

# Runs git without hooks, helpers and background work, whatever the configuration of a repository says.
safe_git() {
  $limited git -c core.hooksPath=/dev/null -c core.fsmonitor=false -c credential.helper= -c gc.auto=0 -c maintenance.auto=false \
    -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=60 -c advice.detachedHead=false -c safe.directory="$dir" \
    -c submodule.recurse=false -c core.symlinks=true "$@"
}

# Whether $1 is the id of an object.
is_id() {
  case $1 in
    *[!0-9a-f]* | '') return 1 ;;
  esac
  [ "${#1}" -eq 40 ] || [ "${#1}" -eq 64 ]
}

# Prints git's last error lines, without its hints.
git_errors() {
  grep -v -e '^hint:' -e '^ *$' "$tmp/err" | tail -n 6 | plain
}

# Whether the Secret's credentials may be used for this repository: if the Secret has a key url, only below that URL.
may_use_secret() {
  [ -n "$secret" ] || return 1
  [ -f "$secret/url" ] || return 0
  limit=$(cat "$secret/url")
  case $url/ in
    "${limit%/}"/*) return 0 ;;
  esac
  return 1
}

# Lets ssh connect only to repositories below the key url of the Secret: git starts ssh for submodules too, and Git LFS
# for what .lfsconfig names. The script gets a file with the key url, and the arguments of ssh.
limit_ssh() {
  tr -d '\r\n' <"$secret/url" >"$tmp/url"
  cat >"$tmp/limit_ssh" <<'END'
set -f
# Sets user, host, port and path of the URL $1.
split() {
  case $1 in
    *://*)
      path=${1#*://}
      rest=${path%%/*}
      path=${path#"$rest"}
      ;;
    *) rest=${1%%:*} path=${1#*:} ;;
  esac
  user= host=${rest##*@} port=
  [ "$host" = "$rest" ] || user=${rest%@*}
  case $host in
    '['*']'*) rest=${host#'['} port=${host##*']'} host=${rest%%']'*} port=${port#:} ;;
    *:*:*) ;;
    *:*) port=${host##*:} host=${host%:*} ;;
  esac
  # the port of another protocol says nothing about ssh
  case $1 in
    ssh://*) ;;
    *) port= ;;
  esac
  host=$(printf %s "$host" | tr A-Z a-z) port=${port:-22}
  path=${path#/} path=${path%/}
}
IFS= read -r limit <"$1" || [ -n "$limit" ] || exit 255
shift
split "$limit"
limit_user=$user limit_host=$host limit_port=$port limit_path=$path
target='' skip='' words='' asked_port=22
for word; do
  if [ -n "$target" ]; then
    words="$words $word"
  elif [ -n "$skip" ]; then
    [ "$skip" != -p ] || asked_port=$word
    skip=
  else
    case $word in
      -p | -o | -i | -l | -F) skip=$word ;;
      -p*) asked_port=${word#-p} ;;
      -*) ;;
      *) target=$word ;;
    esac
  fi
done
split "ssh://$target/"
# PROGRAM 'PATH', or of Git LFS: PROGRAM PATH OPERATION
words=${words# }
program=${words%% *} path=${words#* } after=''
case $path in
  "'"*"'"*) path=${path#"'"} after=${path#*"'"} path=${path%%"'"*} ;;
  *) path=${path%% *} ;;
esac
allowed=1
case $program in
  git-upload-pack | git-receive-pack | git-upload-archive | git-lfs-authenticate | git-lfs-transfer) ;;
  *) allowed= ;;
esac
case $after in
  '' | ' '[a-z]*) ;;
  *) allowed= ;;
esac
path=${path#/} path=${path%/}
case /$path/ in
  *[\;\&\|\<\>\`\$\(\)\"\'\\]* | */../* | */./* | *//*) allowed= ;;
esac
[ "$host:$asked_port" = "$limit_host:$limit_port" ] && [ "$user" = "${limit_user:-$user}" ] || allowed=
case $path/ in
  "${limit_path:+$limit_path/}"* | "$limit_path.git/"*) ;;
  *) allowed= ;;
esac
if [ -z "$allowed" ]; then
  echo "Permission denied: the key url of gitSecret does not allow ssh://$target/$path" >&2
  exit 255
fi
exec ssh "$@"
END
}

# Writes the credentials to files that git and ssh read, never to arguments, which other processes could see.
set_up_credentials() {
  printf '#!/bin/sh\nexit 1\n' >"$tmp/askpass"
  ssh=ssh ssh_options="-F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes -o GlobalKnownHostsFile=/dev/null"
  ssh_options="$ssh_options -o UserKnownHostsFile='$tmp/known_hosts' -o ConnectTimeout=20"
  (umask 077 && : >"$tmp/known_hosts")
  if may_use_secret; then
    pass=
    for key in password token; do
      [ -n "$pass" ] || [ ! -f "$secret/$key" ] || pass=$secret/$key
    done
    if [ -n "$pass" ]; then
      # only for the server of this repository: another one may be behind a redirect or a submodule
      printf '#!/bin/sh\n' >"$tmp/askpass"
      # with the key url, git names the path too, and a submodule elsewhere on the same server is refused
      [ ! -f "$secret/url" ] || printf '[credential]\n\tuseHttpPath = true\n' >"$tmp/.gitconfig"
      cat >>"$tmp/askpass" <<'END'
# git asks: WORD for 'PROTOCOL://USER@HOST/PATH'. Older versions of git do not escape the user, so the user in the URL of a
# submodule may look like a host. The path is only there if the Secret has the key url.
limit=$PAPERCLIP_GIT_SCHEME://$PAPERCLIP_GIT_HOST
[ ! -f "$PAPERCLIP_GIT_SECRET/url" ] || limit=$(cat "$PAPERCLIP_GIT_SECRET/url")
asked=${1#*"'"}
asked=${asked%"'"*}
protocol=${asked%%://*} rest=${asked#*://}
known=$(cat "$PAPERCLIP_GIT_SECRET/username" 2>/dev/null)
case $rest in
  "${known:-x-access-token}@"*) rest=${rest#"${known:-x-access-token}@"} ;;
  *@*)
    case ${rest%%@*} in
      *[!A-Za-z0-9._+%~-]*) exit 1 ;;
    esac
    rest=${rest#*@}
    ;;
esac
case $rest/ in
  *[@\']* | */../* | */./*) exit 1 ;;
esac
authority=${limit#*://} && path=${authority#"${authority%%/*}"} && authority=${authority%%/*}
limit=${authority##*@}$path
[ "$protocol" = "$PAPERCLIP_GIT_SCHEME" ] || exit 1
case $rest/ in
  "${limit%/}"/* | "${limit%/}.git"/*) ;;
  *) exit 1 ;;
esac
case $1 in
  Username*) cat "$PAPERCLIP_GIT_SECRET/username" 2>/dev/null || echo x-access-token ;;
  *) cat "$PAPERCLIP_GIT_PASS" ;;
esac
END
      PAPERCLIP_GIT_PASS=$pass
      export PAPERCLIP_GIT_PASS
    fi
    [ ! -f "$secret/known_hosts" ] || cat "$secret/known_hosts" >"$tmp/known_hosts"
    if [ -f "$secret/ssh-privatekey" ]; then
      (umask 077 && { cat "$secret/ssh-privatekey" && echo; } >"$tmp/key")
      ssh_options="$ssh_options -i '$tmp/key' -o IdentitiesOnly=yes"
    fi
    if [ -f "$secret/url" ]; then
      limit_ssh
      ssh="sh '$tmp/limit_ssh' '$tmp/url'"
    fi
  fi
  chmod 700 "$tmp/askpass"
  GIT_SSH_COMMAND="$ssh $ssh_options" GIT_SSH_VARIANT=ssh
  export GIT_SSH_COMMAND GIT_SSH_VARIANT
}
