"""The policy of hosts whose instructions, skills or shared volume a test has put into temporary folders."""

import os
import tempfile

from paperclip_claude_k8s.host.policy import Policy

_FOLDERS = tuple(filter(None, (tempfile.gettempdir(), os.environ.get("SHARED_VOLUME_FOR_TESTS", ""))))
TEMPORARY_FOLDERS = Policy(
    kubeconfigs=("/",),
    instruction_roots=_FOLDERS,
    skill_roots=_FOLDERS,
    upload_roots=_FOLDERS,
    shared_volume_dirs=_FOLDERS,
)
