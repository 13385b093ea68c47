"""The one place that applies the administrator's policy to a run.

`admit` comes before anything of the config is used, and `admit_plan` before anything is created, because
`podTemplate` can also remove what the adapter sets. No later code asks the policy. Only who opens a file of the
host examines where the file really is, with the same rule (`HostFolders`): a path can change after it was
examined here.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.folder_rules import is_in, normal_path
from paperclip_claude_k8s.base.host_files import KERNEL_FOLDERS
from paperclip_claude_k8s.base.threads import call_in_thread
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.config_admission import config_refusals
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.host.policy_folders import HostFolders
from paperclip_claude_k8s.host.skills import available_skills, read_desired_skills, read_skill_library
from paperclip_claude_k8s.plan.pod_admission import plan_refusals
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings

_SHOWN_CHARS = 200


async def admit(given: JsonMap, config: AdapterConfig, settings: ProcessSettings) -> None:
    """Examine the settings and paths of a config; `given` is the config as the host passed it.

    Raises:
        RunFailure: `k8s_policy_refused`, naming everything that is not allowed.
    """
    if settings.policy_error is not None:
        raise RunFailure(failures.policy_unusable(settings.policy_error))
    refusals = await find_refusals(given, config, settings)
    if refusals:
        raise RunFailure(failures.policy_refused(*refusals))


def admit_plan(plan: RunPlan, settings: ProcessSettings) -> None:
    """Examine the namespace and the Pod of a plan. Raises as `admit` does."""
    refusals = plan_refusals(plan, settings.policy)
    if refusals:
        raise RunFailure(failures.policy_refused(*refusals))


async def find_refusals(
    given: JsonMap, config: AdapterConfig, settings: ProcessSettings
) -> tuple[Refusal, ...]:
    """What the policy does not allow in a config."""
    refusals = config_refusals(config, settings.policy)
    paths = tuple(_named_paths(given, config, settings.folders))
    if not paths:
        return refusals
    examine = partial(_examine, paths, os.path.realpath)
    try:
        return (*refusals, *await call_in_thread(examine, settings.timings.host_files))
    except TimeoutError:  # a volume hangs; who opens the files examines their real paths anyway
        return (*refusals, *_examine(paths, normal_path))


@dataclass(frozen=True, slots=True)
class _NamedPath:
    """A path of this host that a config names."""

    key: str
    path: str
    allows: Callable[[str], bool]
    policy_field: str


def _named_paths(given: JsonMap, config: AdapterConfig, folders: HostFolders) -> Iterator[_NamedPath]:
    if config.kubeconfig is not None:
        path = os.path.abspath(os.path.expanduser(config.kubeconfig))  # noqa: PTH100, PTH111  # not a Path
        yield _NamedPath("kubeconfig", path, folders.kubeconfigs.allows, "kubeconfigs")
    if config.shared_volume_dir is not None:
        path = config.shared_volume_dir
        yield _NamedPath("sharedVolumeDir", path, folders.allows_as_volume, "sharedVolumeDirs")
    volume = folders.trusted_volume(config.shared_volume_dir)
    if config.instructions_file_path is not None:
        path, allows = config.instructions_file_path, folders.instructions(volume).allows
        yield _NamedPath("instructionsFilePath", path, allows, "instructionRoots")
    library = read_skill_library(given)
    for skill in available_skills(library, read_desired_skills(given, library)):
        key = f"paperclipRuntimeSkills[{skill.key[:80]}].source"
        yield _NamedPath(key, skill.source, folders.skills(volume).allows, "skillRoots")


def _examine(paths: Iterable[_NamedPath], resolve: Callable[[str], str]) -> tuple[Refusal, ...]:
    """What is not allowed. `resolve` returns a path without links; if it is `os.path.realpath`, this blocks."""
    return tuple(refusal for named in paths for refusal in _path_refusals(named, resolve))


def _path_refusals(named: _NamedPath, resolve: Callable[[str], str]) -> Iterator[Refusal]:
    """Nothing for a path that no file can have: who opens it reports that."""
    shown = named.path if len(named.path) <= _SHOWN_CHARS else f"{named.path[:_SHOWN_CHARS]}..."
    if not named.path.startswith("/"):
        if named.key == "sharedVolumeDir":
            yield Refusal(named.key, f"{shown} is not an absolute path", "")
        return
    try:
        real = resolve(named.path)
    except (OSError, ValueError):
        return
    where = shown if real == named.path else f"{shown} (in fact {real[:_SHOWN_CHARS]})"
    if is_in(real, KERNEL_FOLDERS):
        yield Refusal(named.key, f"{where} is below {', '.join(KERNEL_FOLDERS)}", "")
    elif not named.allows(real):
        yield Refusal(named.key, f"{where} is not where {named.policy_field} allows it", named.policy_field)
