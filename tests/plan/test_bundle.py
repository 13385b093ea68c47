"""The prompt bundle (instructions and skills): its files, its key, its folder, and its place in a plan."""

import hashlib
import io
import random
import tarfile
from base64 import b64decode
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.support.plans import a_context, a_plan, the_job, the_secret

from paperclip_claude_k8s.host.context import ExecutionContext
from paperclip_claude_k8s.plan.bundle import (
    INSTRUCTIONS,
    BundleFile,
    BundleFolder,
    Packed,
    PathRefused,
    assemble,
    bundle_folder,
    content_key,
    packed_in_secret,
    packed_on_volume,
    path_part,
    skill_files,
    skills_fit,
)
from paperclip_claude_k8s.plan.delivery import OBJECT_BYTES
from paperclip_claude_k8s.plan.run_plan import RunPlan

SKILL = {"SKILL.md": BundleFile(b"# Skill"), "bin/run": BundleFile(b"#!/bin/sh\n", executable=True)}
FILES = st.dictionaries(
    st.text(min_size=1, max_size=4),
    st.builds(BundleFile, st.binary(max_size=6), st.booleans()),
    max_size=4,
)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/", "a\\b", "a\0b", "a\nb", "../up"])
def test_name_that_is_not_a_path_component_is_refused(name: str) -> None:
    with pytest.raises(PathRefused):
        path_part(name)
    with pytest.raises(PathRefused):
        skill_files(name, SKILL)
    if name:  # an empty name means the default
        with pytest.raises(PathRefused):
            bundle_folder({}, name, "/paperclip")
        with pytest.raises(PathRefused):
            bundle_folder({"PAPERCLIP_INSTANCE_ID": name}, "co", "/paperclip")


@given(st.text())
def test_accepted_name_is_one_path_component(name: str) -> None:
    try:
        assert path_part(name) == name
    except PathRefused:
        return
    assert f"a/{name}/b".split("/") == ["a", name, "b"]
    assert name not in {"", ".", ".."}


@pytest.mark.parametrize("path", ["../x", "a/../../x", "/etc/passwd", "a//b", "a/."])
def test_skill_file_outside_its_folder_is_refused(path: str) -> None:
    with pytest.raises(PathRefused):
        skill_files("s", {path: BundleFile(b"")})


@pytest.mark.parametrize(
    ("env", "folder"),
    [
        ({"PAPERCLIP_HOME": "/data"}, "instances/default"),
        ({"PAPERCLIP_HOME": "/data/pc/"}, "pc/instances/default"),
        ({"PAPERCLIP_HOME": "~/pc", "HOME": "/data/me"}, "me/pc/instances/default"),
        ({"HOME": "/data"}, ".paperclip/instances/default"),
        ({"HOME": "/data", "PAPERCLIP_INSTANCE_ID": "two"}, ".paperclip/instances/two"),
        ({"PAPERCLIP_HOME": "/elsewhere"}, ".paperclip/instances/default"),
        ({"PAPERCLIP_HOME": "/data/../etc"}, ".paperclip/instances/default"),
        ({"PAPERCLIP_HOME": "relative"}, ".paperclip/instances/default"),
        ({}, ".paperclip/instances/default"),
    ],
)
def test_bundle_folder_is_in_the_hosts_home_if_that_is_on_the_volume(
    env: dict[str, str], folder: str
) -> None:
    found = bundle_folder(env, "co-1", "/data")
    assert found == BundleFolder("/data", f"{folder}/companies/co-1/claude-prompt-cache")
    moved = found.below(".paperclip-0badc0de")  # for a company that has a folder of its own
    assert moved.path.startswith(".paperclip-0badc0de/instances/")
    assert moved.path.endswith(found.path.partition("instances/")[2])


@given(FILES, FILES)
def test_only_equal_bundles_share_a_key(first: dict[str, BundleFile], second: dict[str, BundleFile]) -> None:
    assert (content_key(first) == content_key(second)) == (first == second)
    assert content_key(dict(reversed(first.items()))) == content_key(first)
    assert len(content_key(first)) == 64


def test_bundle_key_depends_on_each_files_bytes_and_mode() -> None:
    assert content_key({"a": BundleFile(b"xy"), "b": BundleFile(b"")}) != content_key(
        {"a": BundleFile(b"x"), "b": BundleFile(b"y")}
    )
    assert content_key({"a": BundleFile(b"", executable=True)}) != content_key({"a": BundleFile(b"")})


def test_bundle_has_instructions_and_skills_where_the_cli_reads_them() -> None:
    bundle = assemble(
        "Be kind.\n", "## Skill library", skill_files("helper", SKILL), "/paperclip/agents/ada/AGENTS.md"
    )
    assert sorted(bundle.files) == [
        ".claude/skills/helper/SKILL.md",
        ".claude/skills/helper/bin/run",
        INSTRUCTIONS,
    ]
    assert bundle.files[INSTRUCTIONS].content.decode() == (
        "Be kind.\n\n"
        "These instructions are from /paperclip/agents/ada/AGENTS.md; "
        "relative paths in them start at /paperclip/agents/ada.\n\n"
        "## Skill library"
    )
    assert bundle.files[".claude/skills/helper/bin/run"].executable


def test_only_instructions_with_a_path_get_a_note_and_blank_ones_are_left_out() -> None:
    assert assemble("Hi", None, {}).files[INSTRUCTIONS].content == b"Hi"
    assert assemble(" \n", None, {}, "/paperclip/x.md").files == {}
    assert assemble(None, None, {}).files == {}


def test_bundle_on_volume_has_paths_in_the_pod() -> None:
    bundle = assemble("Hi", None, skill_files("s", SKILL))
    packed = packed_on_volume(bundle, BundleFolder("/data", "cache"), ("a note",))
    assert packed == Packed(
        key=bundle.key,
        root=f"/var/run/paperclip/scratch/volume/cache/{bundle.key}",
        instructions_file=f"/var/run/paperclip/scratch/volume/cache/{bundle.key}/agent-instructions.md",
        shared=packed.shared,  # compared below
        skills=("s",),
        notes=("a note",),
    )
    assert {file.path.removeprefix(f"cache/{bundle.key}/") for file in packed.shared} == bundle.files.keys()
    without_instructions = assemble(None, None, skill_files("s", SKILL))
    assert packed_on_volume(without_instructions, BundleFolder("/data", "cache")).instructions_file is None


def test_instructions_without_volume_are_in_run_secret() -> None:
    packed = packed_in_secret(assemble("Hi", None, {}))
    assert packed.files == {INSTRUCTIONS: "Hi"}
    assert packed.instructions_file == "/var/run/paperclip/run/agent-instructions.md"
    assert packed.root is None
    assert packed.key == assemble("Hi", None, {}).key
    assert packed_in_secret(assemble(None, None, {}), ("n",)) == Packed(notes=("n",))
    assert "Hi" not in repr(packed)


PACKED_ON_VOLUME = Packed(
    key="k1", root="/paperclip/b/k1", instructions_file="/paperclip/b/k1/agent-instructions.md"
)
SESSION = "0b9e4c1e-8a43-4c8b-9f0e-0d2f5e0b7a11"


def options_of(plan: RunPlan) -> dict[str, str]:
    """Argument of the command line → the argument that follows it."""
    return dict(pairwise(plan.argv))


def resuming(key: str | None) -> ExecutionContext:
    """The context of a run with a stored session that began with the bundle `key`."""
    known = {"sessionId": SESSION, "cwd": "/paperclip", "promptBundleKey": key}
    return a_context(runtime={"sessionParams": known})


def test_only_a_fresh_session_gets_the_instructions() -> None:
    fresh, resumed = a_plan(packed=PACKED_ON_VOLUME), a_plan(resuming("k1"), packed=PACKED_ON_VOLUME)
    assert options_of(fresh)["--append-system-prompt-file"] == PACKED_ON_VOLUME.instructions_file
    assert options_of(resumed)["--resume"] == SESSION
    assert "--append-system-prompt-file" not in resumed.argv
    assert options_of(fresh)["--add-dir"] == options_of(resumed)["--add-dir"] == PACKED_ON_VOLUME.root
    assert fresh.session_params["promptBundleKey"] == "k1"


@pytest.mark.parametrize("key", ["k0", "other"])
def test_session_with_other_bundle_is_not_resumed(key: str) -> None:
    plan = a_plan(resuming(key), packed=PACKED_ON_VOLUME)
    assert plan.resume is None
    assert any("the prompt bundle changed" in note for note in plan.notes)
    assert options_of(plan)["--append-system-prompt-file"] == PACKED_ON_VOLUME.instructions_file


def test_session_without_bundle_key_is_resumed() -> None:
    assert a_plan(resuming(None), packed=PACKED_ON_VOLUME).resume == SESSION


def test_plan_has_files_and_notes_of_the_bundle() -> None:
    plan = a_plan(packed=packed_in_secret(assemble("Hi", None, {}), ("a note",)))
    assert plan.files[INSTRUCTIONS] == "Hi"
    assert "a note" in plan.notes


def test_small_skills_without_volume_are_in_run_secret_as_a_folder() -> None:
    bundle = assemble("Hi", None, skill_files("s", {**SKILL, "logo": BundleFile(b"\xff\0\x89")}))
    packed = packed_in_secret(bundle)
    assert (packed.root, packed.skills, packed.key) == ("/var/run/paperclip/run/bundle", ("s",), bundle.key)
    secret, job = the_secret(packed=packed, home=None), the_job(packed=packed, home=None)
    (volume,) = [v for v in job["spec"]["template"]["spec"]["volumes"] if v["name"] == "run"]
    found = {item["path"]: item for item in volume["secret"]["items"]}
    for path, file in bundle.files.items():
        if path != INSTRUCTIONS:
            item = found[f"bundle/{path}"]
            assert b64decode(secret["data"][item["key"]]) == file.content
            assert item["mode"] == (0o550 if file.executable else 0o440)
    argv = a_plan(packed=packed, home=None).argv
    assert argv[argv.index("--add-dir") + 1] == packed.root


def test_plan_with_init_delivery_leaves_skills_out_and_notes_it() -> None:
    packed = packed_in_secret(assemble("Hi", None, skill_files("s", SKILL)))
    plan = a_plan(packed=packed, home=None, promptDelivery="init")
    assert (plan.packed.skills, plan.packed.skill_files) == ((), {})
    assert "--add-dir" not in plan.argv
    assert any("Skills are not delivered" in note for note in plan.notes)


def test_skills_beyond_the_limit_do_not_fit_into_the_run_secret() -> None:
    assert skills_fit({"a": BundleFile(b"x" * 390_000)})
    assert not skills_fit({"a": BundleFile(b"x" * 400_000)})
    assert not skills_fit({str(number): BundleFile(b"") for number in range(501)})  # at most 500 files


@pytest.mark.parametrize(("prompt_bytes", "in_run_secret"), [(200_000, True), (600_000, False)])
def test_skills_get_secrets_of_their_own_if_the_prompt_leaves_no_room_for_them(
    prompt_bytes: int,
    in_run_secret: bool,  # noqa: FBT001
) -> None:
    ctx = a_context(context={"taskId": "t", "paperclipTaskMarkdown": "y" * prompt_bytes})
    bundle = assemble("Hi", None, skill_files("s", {"SKILL.md": BundleFile(b"x" * 300_000)}))
    plan = a_plan(ctx, home=None, packed=packed_in_secret(bundle))
    assert plan.object_bytes <= OBJECT_BYTES
    assert bool(plan.packed.skill_files) is in_run_secret
    assert (plan.packed.archive is None) is in_run_secret
    assert (plan.packed.skills, plan.packed.key) == (("s",), bundle.key)
    root = "/var/run/paperclip/run/bundle" if in_run_secret else "/var/run/paperclip/skills"
    assert plan.argv[plan.argv.index("--add-dir") + 1] == root


def test_large_skills_are_an_archive_in_parts_that_an_init_container_unpacks() -> None:
    noise = random.Random(1).randbytes(1_500_000)  # noqa: S311  # no secret
    bundle = assemble("Hi", None, skill_files("s", {**SKILL, "data": BundleFile(noise)}))
    packed = packed_in_secret(bundle)
    archive = packed.archive
    assert packed_in_secret(bundle).archive is archive  # equal skills are in memory once
    assert archive is not None
    assert (packed.skill_files, packed.skills, packed.files) == ({}, ("s",), {INSTRUCTIONS: "Hi"})
    content = b"".join(archive.part(number) for number in range(archive.parts))
    assert (archive.parts, archive.sha256) == (3, hashlib.sha256(content).hexdigest())
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        found = {entry.name: entry for entry in tar.getmembers()}
        read = {name: (tar.extractfile(name) or io.BytesIO()).read() for name in found}
    assert read == {path: file.content for path, file in bundle.files.items() if path != INSTRUCTIONS}
    assert {found[path].mode for path in read if bundle.files[path].executable} == {0o755}
    spec = the_job(packed=packed, home=None)["spec"]["template"]["spec"]
    (unpacking,) = spec["initContainers"]
    assert unpacking["name"] == "skills-unpack"
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == "skills"]
    assert mount == {"name": "skills", "mountPath": "/var/run/paperclip/skills", "readOnly": True}
    assert the_job(packed=packed, home=None)["metadata"]["annotations"]["paperclip.io/upload-bytes"] == str(
        len(content)
    )


def test_init_container_delivers_no_large_skills_either() -> None:
    packed = packed_in_secret(assemble("Hi", None, skill_files("s", {"data": BundleFile(b"x" * 500_000)})))
    plan = a_plan(packed=packed, home=None, promptDelivery="init")
    assert (plan.packed.skills, plan.packed.archive) == ((), None)
    assert any("Skills are not delivered" in note for note in plan.notes)
