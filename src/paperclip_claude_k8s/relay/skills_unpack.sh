# Unpacks skills. Runs in an init container, after parts.sh.
need
verify
why=$( (unpack "$dir") 2>&1) && [ -d "$dir/.claude/skills" ] || fail_to_unpack "the archive of skills" "$why"
