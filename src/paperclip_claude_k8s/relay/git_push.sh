# Pushes the branch that the agent left, and reports what is not on the server. Runs in a container of its own, because
# the agent must not get the credentials. The agent wrote the clone: nothing in it is executed, and its configuration is
# not read. All git commands work in a repository of this container that only borrows the clone's objects.
push_to=${PAPERCLIP_GIT_PUSH:-}
ended=$PAPERCLIP_GIT_ENDED
own=$tmp/own
branch='' head='' pushed='' why='' commits=null bytes=null files=null file_bytes=null new=null
# If the Pod is deleted, the time until SIGKILL is used for the push. With some shells, programs inherit the ignored
# signals, so that only `timeout -s KILL` ends them.
trap '' TERM INT HUP

# Prints at most $2 bytes of the clone's file $1, unless it is a link or a pipe.
read_file() {
  [ -f "$1" ] && [ ! -L "$1" ] && timeout -s KILL 10 head -c "$2" "$1"
}

# Prints the id of the clone's ref $1.
read_ref() {
  git check-ref-format "$1" 2>/dev/null || return
  id=$(read_file "$dir/.git/$1" 100)
  is_id "$id" || id=$(read_file "$dir/.git/packed-refs" 16777216 | while read -r id name _; do
    [ "$name" != "$1" ] || { echo "$id" && break; }
  done)
  if is_id "$id"; then echo "$id"; fi
}

# Prints the ids of the clone's branches and of its last stash, at most about 1,000.
all_heads() {
  {
    (cd "$dir/.git/refs" && set +f && timeout -s KILL 20 find heads stash -type f) 2>/dev/null | head -n 500 | while read -r name; do
      read_file "$dir/.git/refs/$name" 100
    done
    read_file "$dir/.git/packed-refs" 16777216 | while read -r id name _; do
      case $name in
        refs/heads/* | refs/stash) echo "$id" ;;
      esac
    done | head -n 500
    echo "$head"
  } | sort -u | while read -r id; do
    ! is_id "$id" || echo "$id"
  done | commits_of
}

# Prints those ids of standard input that are commits. With a time limit: an object may have become a pipe.
commits_of() {
  timeout -s KILL 30 git --git-dir="$own" cat-file --batch-check 2>/dev/null | while read -r id type _; do
    [ "$type" != commit ] || echo "$id"
  done
}

# Whether the folder $1 has only files and folders: git would follow a link, and wait for a pipe.
is_plain() {
  # find exits with 1 if it could not read something, or if something was removed meanwhile
  timeout -s KILL 60 find "$1" ! -type f ! -type d >"$tmp/odd" 2>/dev/null
  [ "$?" -le 1 ] && [ ! -s "$tmp/odd" ]
}

borrow_objects() {
  [ -d "$dir" ] && [ ! -L "$dir" ] && [ -d "$dir/.git/objects" ] && [ ! -L "$dir/.git" ] || return 1
  is_plain "$dir/.git/objects" || return 1
  git init -q --bare "$own" 2>"$tmp/err" && printf '%s\n' "$dir/.git/objects" >"$own/objects/info/alternates" || return 1
  read_file "$dir/.git/shallow" 1048576 | while read -r id; do
    ! is_id "$id" || echo "$id"
  done >"$tmp/shallow"
  [ ! -s "$tmp/shallow" ] || cp "$tmp/shallow" "$own/shallow"
  git --git-dir="$own" config core.bare false
}

# Lets git-lfs find the clone's LFS files, unless there is a link among them, which could lead to the credentials. The
# files are sent to the repository's server, whatever .lfsconfig names.
borrow_lfs_objects() {
  git --git-dir="$own" lfs install --local --skip-repo >/dev/null 2>&1
  case $url in
    http*.git | http*.git/) lfs_url=${url%/}/info/lfs ;;
    http*) lfs_url=${url%/}.git/info/lfs ;;
    *) lfs_url=$url ;;
  esac
  for name in lfs.url lfs.pushurl; do
    git --git-dir="$own" config "$name" "$lfs_url"
  done
  git --git-dir="$own" config lfs.locksverify false
  mkdir "$own/lfs"
  store=$dir/.git/lfs
  [ -d "$store/objects" ] && [ ! -L "$store" ] && [ ! -L "$store/objects" ] || return 0
  ! is_plain "$store/objects" || ln -s "$store/objects" "$own/lfs/objects"
}

# Sets branch and head.
read_head() {
  text=$(read_file "$dir/.git/HEAD" 1000)
  case $text in
    "ref: refs/heads/"*)
      branch=${text#ref: refs/heads/}
      head=$(read_ref "refs/heads/$branch")
      ;;
    *) is_id "$text" && head=$text ;;
  esac
  [ -z "$head" ] || head=$(echo "$head" | commits_of)
}

# Pushes head to the branch that gitPush names. Sets pushed, or why.
push_branch() {
  target=
  rest=$push_to
  while [ -n "$rest" ]; do
    case $rest in
      *"{branch}"*)
        if [ -z "$branch" ]; then
          why="the agent left no branch, but a detached HEAD"
          return
        fi
        target=$target${rest%%"{branch}"*}$branch
        rest=${rest#*"{branch}"}
        ;;
      *) target=$target$rest rest= ;;
    esac
  done
  if ! git check-ref-format "refs/heads/$target" 2>/dev/null; then
    why="the branch in gitPush cannot be used"
    return
  fi
  if [ "${PAPERCLIP_GIT_LFS:-}" = 1 ] && [ -z "$gone" ]; then
    why="processes in the agent's container did not end, and could change what Git LFS uploads"
    return
  fi
  # git-lfs needs a branch, not only a commit
  if [ "${PAPERCLIP_GIT_LFS:-}" = 1 ] && ! {
    git --git-dir="$own" update-ref refs/heads/agent "$head" && (cd "$tmp" && timeout -s KILL 150 git --git-dir="$own" lfs push "$url" agent)
  } >"$tmp/err" 2>&1; then
    why="git lfs push failed: $(git_errors)"
    return
  fi
  # without -f or +: the server's commits are never lost
  if (cd "$tmp" && timeout -s KILL 150 git --git-dir="$own" -c core.hooksPath=/dev/null -c credential.helper= -c push.followTags=false \
    -c push.gpgSign=false -c http.lowSpeedLimit=1000 -c http.lowSpeedTime=60 push --porcelain --no-verify \
    --recurse-submodules=no -- "$url" "$head:refs/heads/$target") >"$tmp/out" 2>"$tmp/err"; then
    pushed=$target
  else
    grep '^!' "$tmp/out" >>"$tmp/err"
    why=$(git_errors)
    [ -n "$why" ] || why="git push did not end in time"
  fi
}

# Sets commits and bytes to number and size of the commits of all branches that are not on the server.
count_commits() {
  {
    all_heads
    [ -z "$base" ] || echo "^$base"
    [ -z "$pushed" ] || echo "^$head"
  } >"$tmp/tips"
  n=$(timeout -s KILL 60 git --git-dir="$own" rev-list --count --stdin <"$tmp/tips" 2>/dev/null) && commits=$n
  n=$(timeout -s KILL 60 git --git-dir="$own" rev-list --objects --stdin <"$tmp/tips" 2>/dev/null | cut -d ' ' -f 1 |
    timeout -s KILL 60 git --git-dir="$own" cat-file --batch-check='%(objectsize:disk)' 2>/dev/null | total) && bytes=$n
}

# Counts what the agent left in the folder of a repository that was not cloned.
count_all_files() {
  why="the repository was not cloned" commits=0 bytes=0 new=false
  (cd "$dir" && timeout -s KILL 60 find . -type f -exec stat -c %s {} +) >"$tmp/sizes" 2>/dev/null || return
  files=$(($(wc -l <"$tmp/sizes")))
  file_bytes=$(total <"$tmp/sizes")
}

# Prints the sum of the numbers in standard input.
total() {
  awk '{ sum += $1 } END { printf "%.0f", sum }'
}

# Sets files and file_bytes to number and size of files that are changed or new and not committed, without ignored files.
count_files() {
  GIT_INDEX_FILE=$tmp/index
  export GIT_INDEX_FILE
  if [ -n "$head" ]; then
    timeout -s KILL 60 git --git-dir="$own" read-tree "$head" 2>/dev/null || return
  fi
  (cd "$dir" && timeout -s KILL 100 git --git-dir="$own" --work-tree="$dir" -c core.fsmonitor=false -c core.hooksPath=/dev/null \
    -c core.excludesFile=/dev/null ls-files -z -m -o --exclude-standard) >"$tmp/files" 2>/dev/null || return
  files=$(tr -dc '\000' <"$tmp/files" | wc -c)
  files=$((files))
  file_bytes=$(cd "$dir" && xargs -0 -r stat -c %s -- <"$tmp/files" 2>/dev/null | total)
}

# git verifies the objects that it reads, but git-lfs would follow a link that an agent puts in place of a file
container_sec=0
[ "${PAPERCLIP_GIT_LFS:-}" != 1 ] || container_sec=${PAPERCLIP_GIT_CONTAINER_SEC:-600}
await_agent "$sync/alive" "${PAPERCLIP_GIT_START_SEC:-3600}" "$ended" "$container_sec"
base=$(head -c 100 "$sync/base")
is_id "$base" || base=
set_up_credentials
if [ -e "$sync/none" ] && [ ! -e "$dir/.git" ]; then
  count_all_files
elif ! command -v git >/dev/null 2>&1; then
  why="the image of this container has no git"
elif ! borrow_objects; then
  why="the clone is no longer a repository"
else
  [ "${PAPERCLIP_GIT_LFS:-}" != 1 ] || [ -z "$gone" ] || borrow_lfs_objects
  read_head
  if [ -z "$head" ]; then
    why="the agent left no commit"
  elif [ "$head" = "$base" ]; then
    why="there is no new commit"
  elif [ -z "$push_to" ]; then
    why="gitPush is not set"
  else
    push_branch
  fi
  count_commits
  count_files
  new=$([ "$head" = "$base" ] && echo false || echo true)
fi
printf '{"workspace":"%s","head":"%s","branch":"%s","pushed":"%s","why":"%s","changed":%s,"commits":%s,"bytes":%s,"files":%s,"file_bytes":%s}\n' \
  "$nonce" "$head" "$(printf %s "$branch" | plain 200)" "$(printf %s "$pushed" | plain 200)" "$(printf %s "$why" | plain)" \
  "$new" "$commits" "${bytes:-null}" "${files:-null}" "${file_bytes:-null}" >"$message"
exit 0
