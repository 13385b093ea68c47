"""Refuses a run that the administrator's policy does not allow.

`admit` examines the config before anything of it is used. `admit_plan` examines the whole Pod before anything
is created, because `podTemplate` can also remove what the adapter sets. The code that later opens a file of
the host examines once more, by the same rule (`HostFolders`), where the file really is: links in its path can
change meanwhile. Two fields of the policy that change what a run gets, `companyVolumes` and `mcpBaseline`,
are read where they apply.
"""

import asyncio
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

from paperclip_claude_k8s import failures
from paperclip_claude_k8s.base.folder_rules import FolderRule, is_in
from paperclip_claude_k8s.base.host_files import KERNEL_FOLDERS
from paperclip_claude_k8s.base.path_lengths import PATH_EXCESS, path_is_too_long
from paperclip_claude_k8s.base.threads import call_in_thread, place_of
from paperclip_claude_k8s.cluster.kubeconfig import kubeconfig_files
from paperclip_claude_k8s.failures import RunFailure
from paperclip_claude_k8s.host.config import AdapterConfig
from paperclip_claude_k8s.host.config_admission import config_refusals, shorten
from paperclip_claude_k8s.host.context import JsonMap
from paperclip_claude_k8s.host.policy import Refusal
from paperclip_claude_k8s.host.policy_folders import HostFolders
from paperclip_claude_k8s.host.skills import available_skills, read_desired_skills, read_skill_library
from paperclip_claude_k8s.plan.pod_admission import plan_refusals
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.ports import ProcessSettings

MAX_REFUSED_PATHS = 20
"""How many paths of a config are refused before the others are left unexamined: following the links in one
takes up to 20 ms."""


async def admit(given: JsonMap, config: AdapterConfig, settings: ProcessSettings) -> None:
    """Examine the settings and paths of a config; `given` is the config as the host passed it.

    Raises:
        RunFailure: `k8s_policy_refused`, naming everything that is not allowed.
    """
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
    """What the policy does not allow in a config.

    Raises:
        RunFailure: `k8s_policy_refused`, because the policy itself cannot be used.
    """
    require_policy(settings)
    refused: list[Refusal] = []
    for path in _named_paths(given, config, settings.folders):
        if len(refused) == MAX_REFUSED_PATHS:
            break
        if not await _is_allowed(path, settings.timings.host_links):
            refused.append(path.refusal)
        await asyncio.sleep(0)  # other runs work between two of many skills
    return (*config_refusals(config, settings.policy), *refused)


def require_policy(settings: ProcessSettings) -> None:
    """Raise RunFailure `k8s_policy_refused` if the policy itself cannot be used."""
    if settings.policy_error is not None:
        raise RunFailure(failures.policy_unusable(settings.policy_error))


def volume_refusal(folder: str, settings: ProcessSettings) -> Refusal | None:
    """Why the policy does not allow a shared volume where the links in this path lead. Blocks."""
    named = _NamedPath("sharedVolumeDir", folder, "sharedVolumeDirs", settings.folders.volumes)
    return None if named.is_really_allowed() else named.refusal


async def volume_is_allowed(folder: str, settings: ProcessSettings) -> bool:
    """Whether the policy allows a shared volume in this folder; False if the volume hangs.

    Also False while the policy itself cannot be used.
    """
    if settings.policy_error is not None or path_is_too_long(folder):
        return False
    find_refusal = partial(volume_refusal, folder, settings)
    try:
        return await call_in_thread(find_refusal, settings.timings.host_links, place_of(folder)) is None
    except TimeoutError:
        return False


@dataclass(frozen=True, slots=True)
class _NamedPath:
    """A path of this host that a config names, and the rule for it."""

    key: str
    path: str
    policy_field: str
    rule: FolderRule

    def is_really_allowed(self) -> bool:
        """Whether the path is allowed with its links resolved. Blocks."""
        try:
            return self.rule.allows(os.path.realpath(self.path))
        except (OSError, ValueError):  # no file can have this path
            return False

    @property
    def refusal(self) -> Refusal:
        shown = shorten(self.path)
        if path_is_too_long(self.path):
            return Refusal(self.key, f"{shown} {PATH_EXCESS}", "")
        if is_in(self.path, KERNEL_FOLDERS):
            return Refusal(self.key, f"{shown} is below {', '.join(KERNEL_FOLDERS)}", "")
        return Refusal(self.key, f"{self.policy_field} does not allow {shown}", self.policy_field)


def _named_paths(given: JsonMap, config: AdapterConfig, folders: HostFolders) -> Iterator[_NamedPath]:
    """The paths that will be used.

    Paths of instructions and skills that are not absolute are left out: packing does not read them.
    """
    configured, instructions = config.shared_volume_dir, config.instructions_file_path
    volume = folders.trusted_volume(configured)
    for file in kubeconfig_files(config.kubeconfig or ""):
        path = os.path.abspath(os.path.expanduser(file))  # noqa: PTH100, PTH111  # not a Path
        yield _NamedPath("kubeconfig", path, "kubeconfigs", folders.kubeconfigs)
    if configured is not None:
        yield _NamedPath("sharedVolumeDir", configured, "sharedVolumeDirs", folders.volumes)
    if instructions is not None and instructions.startswith("/"):
        rule = folders.instructions(volume)
        yield _NamedPath("instructionsFilePath", instructions, "instructionRoots", rule)
    library, skill_rule = read_skill_library(given), folders.skills(volume)
    for skill in available_skills(library, read_desired_skills(given, library)):
        if skill.source.startswith("/"):
            key = f"paperclipRuntimeSkills[{shorten(skill.key)}].source"
            yield _NamedPath(key, skill.source, "skillRoots", skill_rule)


async def _is_allowed(named: _NamedPath, seconds: float) -> bool:
    """Whether the path is allowed by its name, or leads by links into a folder that is allowed.

    False for a path that is not absolute or is too long, or if the links cannot be resolved in time.
    """
    if path_is_too_long(named.path):
        return False
    if named.path.startswith("/") and named.rule.allows_name(named.path):
        return True
    if named.rule.roots is None or not named.path.startswith("/"):
        return False  # without `roots`, a refused name stays refused, wherever its links lead
    try:
        return await call_in_thread(named.is_really_allowed, seconds, place_of(named.path))
    except TimeoutError:
        return False
