"""The container that unpacks skills too large for the run Secret, its volumes, and the agent's mount."""

from collections.abc import Mapping

from paperclip_claude_k8s.cluster.model import JsonObject
from paperclip_claude_k8s.plan.bundle import UNPACKED_BUNDLE
from paperclip_claude_k8s.plan.run_plan import RunPlan
from paperclip_claude_k8s.plan.upload_containers import PARTS_DIR, parts_volume, upload_script_container
from paperclip_claude_k8s.plan.upload_parts import skill_part_name
from paperclip_claude_k8s.relay import upload_scripts

_SIZE = "128Mi"
"""Size limit of the unpacked skills: the largest allowed sum, and a partly used disk block for each file."""


def skill_volumes(plan: RunPlan) -> list[JsonObject]:
    archive = plan.packed.archive
    if archive is None:
        return []
    names = [skill_part_name(plan.job_name, number) for number in range(archive.parts)]
    return [
        {"name": "skills", "emptyDir": {"sizeLimit": _SIZE}},
        parts_volume(plan, "skill-parts", names),
    ]


def skill_mounts(plan: RunPlan) -> list[JsonObject]:
    """What the agent's container mounts."""
    if plan.packed.archive is None:
        return []
    return [{"name": "skills", "mountPath": UNPACKED_BUNDLE, "readOnly": True}]


def unpack_skills_container(plan: RunPlan, common: Mapping[str, object]) -> list[JsonObject]:
    """The init container that unpacks the skills, in a list; without an archive of skills the list is empty.

    `common`: fields of all containers of the Pod.
    """
    archive = plan.packed.archive
    if archive is None:
        return []
    variables = {"DIR": UNPACKED_BUNDLE, "PARTS": PARTS_DIR, "SHA256": archive.sha256}
    mounts: list[JsonObject] = [
        {"name": "skills", "mountPath": UNPACKED_BUNDLE},
        {"name": "skill-parts", "mountPath": PARTS_DIR, "readOnly": True},
    ]
    return [upload_script_container(upload_scripts.SKILLS_CONTAINER, common, variables, mounts)]
