# Clones a repository into a folder of the Pod before the agent starts. Runs in an init container.
cache=${PAPERCLIP_GIT_CACHE:-}
key=${PAPERCLIP_GIT_CACHE_KEY:-}
refs=${PAPERCLIP_GIT_REFS:-}
commit=${PAPERCLIP_GIT_COMMIT:-}
branch=${PAPERCLIP_GIT_BRANCH:-}
depth=${PAPERCLIP_GIT_DEPTH:-1}
tab='	'
# whether the agent starts without the files if they cannot be cloned
optional=${PAPERCLIP_GIT_OPTIONAL:-}
# the limit for the clone; the run waits longer than this for the agent's start
seconds=${PAPERCLIP_GIT_SEC:-300}
end=$(($(date +%s) + seconds))
[ -z "$optional" ] || limited=limited

# Prints the seconds that are left for the clone, at least 1 and at most $1.
left() {
  left=$((end - $(date +%s)))
  [ "$left" -lt "$1" ] || left=$1
  [ "$left" -gt 0 ] || left=1
  echo "$left"
}

# Runs a command, and kills it when the clone's time is over.
limited() {
  timeout -s KILL "$(left "$seconds")" "$@"
}

fail() {
  why=$1
  [ -z "$optional" ] || [ "$(date +%s)" -lt "$end" ] || why="it did not end within $seconds seconds"
  printf 'paperclip workspace: %s\n' "$why" >&2
  [ -z "$optional" ] || start_without_files
  printf '%s\n' "$why" | plain >"$message"
  exit 75
}

# Lets the agent start in an empty folder. Processes that git started may still write to the folder, so removing it is
# tried again.
start_without_files() {
  for pause in 0 0.3 1; do
    sleep "$pause"
    rm -rf "$dir" 2>/dev/null && break
  done
  mkdir -p "$dir" && : >"$sync/none" || return
  printf '{"workspace":"%s","failed":"%s"}\n' "$nonce" "$(printf %s "$why" | plain)" >"$message"
  exit 0
}

fail_with_errors() {
  fail "$1: $(git_errors)"
}

# Prints the id of the server's ref $1; nothing if the server has no such ref.
id_of() {
  while IFS=$tab read -r value name; do
    if [ "$name" = "$1" ] && is_id "$value"; then
      echo "$value"
      return
    fi
  done <"$tmp/refs"
}

# Sets base to the server's ref from which the agent's branch starts. Sets start to the agent's branch if the server has
# it, else to base.
choose_refs() {
  base=
  for name in $refs; do
    [ -n "$base" ] || [ -z "$(id_of "$name")" ] || base=$name
  done
  if [ -z "$base" ] && [ -n "$refs" ]; then
    set -- $refs
    fail "the repository has no branch or tag ${1#refs/*/}"
  fi
  if [ -z "$base" ] && [ -z "$commit" ]; then
    while IFS=$tab read -r value name; do
      case $value in
        "ref: refs/heads/"*) [ "$name" != HEAD ] || base=${value#ref: } ;;
      esac
    done <"$tmp/refs"
    git check-ref-format "$base" 2>/dev/null && [ -n "$(id_of HEAD)" ] || base=
    [ -n "$base" ] || [ -z "$(id_of HEAD)" ] || base=HEAD
  fi
  start=$base
  [ -z "$branch" ] || [ -z "$(id_of "refs/heads/$branch")" ] || start=refs/heads/$branch
}

# Prints the local name of the server's ref $1.
local_name() {
  case $1 in
    refs/heads/*) echo "refs/remotes/origin/${1#refs/heads/}" ;;
    refs/tags/*) echo "$1" ;;
    *) echo refs/paperclip/base ;;
  esac
}

new_repository() {
  rm -rf "$dir"
  mkdir -p "$dir" && safe_git init -q "$dir" 2>"$tmp/err" || fail_with_errors "the workspace cannot be created"
  safe_git -C "$dir" config remote.origin.url "$url"
  safe_git -C "$dir" config remote.origin.fetch '+refs/heads/*:refs/remotes/origin/*'
  safe_git -C "$dir" config user.name "${PAPERCLIP_GIT_AUTHOR:-agent}"
  safe_git -C "$dir" config user.email "${PAPERCLIP_GIT_EMAIL:-agent@paperclip.invalid}"
}

# Puts the objects of the last clone into the new repository. An agent may have changed the kept files. git computes
# the id of every object again, so a changed object is missing, and then the repository is cloned without kept objects.
load_cache() {
  cached_tip=
  [ -n "$cache" ] && [ ! -L "$cache/$key" ] || return 1
  for file in pack tips; do
    [ -f "$cache/$key/$file" ] && [ ! -L "$cache/$key/$file" ] || return 1
  done
  # At most the size that save_cache writes, and a third of the time, so that a clone without kept objects is still possible.
  # The time limit includes opening the file: an agent may have put a pipe in its place.
  timeout -s KILL "$(left $((seconds / 3 + 1)))" sh -c 'exec git -C "$1" index-pack --stdin --max-input-size=4294967296 <"$2"' \
    sh "$dir" "$cache/$key/pack" >/dev/null 2>&1 || return 1
  timeout 10 head -c 65536 "$cache/$key/tips" >"$tmp/tips" || return 1
  while read -r kind id _; do
    is_id "$id" || continue
    case $kind in
      tip) cached_tip=$id ;;
      shallow) echo "$id" >>"$dir/.git/shallow" ;;
    esac
  done <"$tmp/tips"
  git -C "$dir" cat-file -e "$cached_tip^{commit}" 2>/dev/null &&
    git -C "$dir" update-ref refs/paperclip/cache "$cached_tip" 2>/dev/null || {
    cached_tip=
    return 1
  }
}

# Keeps the objects for the next clone. A failure here does not fail the run.
save_cache() {
  [ -n "$cache" ] || return 0
  kept=true
  # packed at most once a day, because packing takes longer than fetching what is new since then
  if [ "$cached_tip" = "$tip" ] || { [ -n "$cached_tip" ] && [ -n "$(find "$cache/$key/pack" -mmin -1440 2>/dev/null)" ]; }; then
    touch "$cache/$key" 2>/dev/null
    return 0
  fi
  new=$cache/new-$(date +%s)-$$
  (
    umask 077
    # a new folder, not one that an agent has prepared with links
    mkdir -p "$cache" && mkdir "$new" || exit
    { [ ! -f "$dir/.git/shallow" ] || sed 's/^/shallow /' "$dir/.git/shallow"; } >"$new/tips" && echo "tip $tip" >>"$new/tips" || exit
    # at most 4 GiB: a block has 512 bytes
    ulimit -f 8388608
    echo "$tip" | timeout -s KILL "$(left 300)" git -C "$dir" pack-objects --revs -q --stdout >"$new/pack" || exit
    rm -rf "$cache/$key" && mv "$new" "$cache/$key"
  ) 2>"$tmp/err" || kept=false
  rm -rf "$new"
  # remove what no run has used for 30 days
  find "$cache" -mindepth 1 -maxdepth 1 -mtime +30 -exec rm -rf {} + 2>/dev/null
  return 0
}

# Fetches from the server and checks out. If it fails, the file err has the errors.
fetch_and_check_out() {
  set --
  [ "$depth" = 0 ] || set -- "--depth=$depth"
  if [ -n "$commit" ]; then
    { safe_git -C "$dir" fetch -q --no-tags --no-recurse-submodules "$@" origin "+$commit:refs/paperclip/base" ||
      # some servers give out only the ids of branches and tags
      { safe_git -C "$dir" fetch -q --no-recurse-submodules origin &&
        safe_git -C "$dir" update-ref refs/paperclip/base "$commit"; }; } 2>"$tmp/err" || return
    from=refs/paperclip/base
  elif [ -n "$base" ]; then
    set -- "$@" origin "+$base:$(local_name "$base")"
    [ "$start" = "$base" ] || set -- "$@" "+$start:$(local_name "$start")"
    safe_git -C "$dir" fetch -q --no-tags --no-recurse-submodules "$@" 2>"$tmp/err" || return
    from=$(local_name "$start")
  else
    from= tip=
    [ -z "$branch" ] || safe_git -C "$dir" symbolic-ref HEAD "refs/heads/$branch"
    return 0
  fi
  tip=$(safe_git -C "$dir" rev-parse --verify -q "$from^{commit}") || {
    echo "it is not a commit" >"$tmp/err"
    return 1
  }
  name=$branch
  [ -n "$name" ] || case $start in
    refs/heads/*) name=${start#refs/heads/} ;;
  esac
  if [ -n "$name" ]; then
    safe_git -C "$dir" checkout -q --no-track -B "$name" "$tip" -- 2>"$tmp/err" || return
    if [ "$start" = "refs/heads/$name" ]; then
      safe_git -C "$dir" config "branch.$name.remote" origin
      safe_git -C "$dir" config "branch.$name.merge" "$start"
    fi
  else
    safe_git -C "$dir" checkout -q --detach "$tip" -- 2>"$tmp/err" || return
  fi
}

# the pushing container waits for the agent by this pipe, with and without a clone
rm -rf "$sync/alive" "$sync/base" "$sync/none"
mkfifo "$sync/alive" 2>"$tmp/err" || fail_with_errors "the workspace cannot be created"
command -v git >/dev/null 2>&1 || fail "the image of this container has no git"
set_up_credentials
case $PAPERCLIP_GIT_SCHEME in
  ssh)
    command -v ssh >/dev/null 2>&1 || fail "the image of this container has no ssh"
    [ -s "$tmp/known_hosts" ] || fail "there is no known_hosts with the server's host key"
    ;;
esac
names=
[ -z "$branch" ] || names=refs/heads/$branch
safe_git ls-remote --symref -- "$url" HEAD $refs $names >"$tmp/refs" 2>"$tmp/err" || fail_with_errors "git ls-remote failed"
choose_refs
new_repository
used=no
if load_cache && fetch_and_check_out; then
  used=yes
else
  [ -z "$cached_tip" ] || rm -rf "$cache/$key"
  cached_tip=
  new_repository
  fetch_and_check_out || fail_with_errors "git fetch or checkout failed"
fi
[ -z "$cached_tip" ] || safe_git -C "$dir" update-ref -d refs/paperclip/cache
if [ "${PAPERCLIP_GIT_SUBMODULES:-}" = 1 ] && [ -n "$tip" ]; then
  set --
  [ "$depth" = 0 ] || set -- "--depth=$depth"
  safe_git -C "$dir" submodule --quiet update --init --recursive "$@" 2>"$tmp/err" || fail_with_errors "git submodule update failed"
fi
if [ "${PAPERCLIP_GIT_LFS:-}" = 1 ] && [ -n "$tip" ]; then
  git lfs version >/dev/null 2>&1 || fail "the image of this container has no git-lfs"
  { safe_git -C "$dir" lfs install --local --skip-repo && safe_git -C "$dir" lfs pull origin; } >"$tmp/err" 2>&1 || fail_with_errors "git lfs pull failed"
fi
kept=null
[ -z "$tip" ] || save_cache
echo "$tip" >"$sync/base"
printf '{"workspace":"%s","commit":"%s","branch":"%s","cached":%s,"kept":%s}\n' "$nonce" "$tip" \
  "$(safe_git -C "$dir" symbolic-ref -q --short HEAD 2>/dev/null | plain 200)" \
  "$([ "$used" = yes ] && echo true || echo false)" "$kept" >"$message"
