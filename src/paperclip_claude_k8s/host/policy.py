"""What the administrator of this host lets a config use. `policy.toml` documents every field.

A policy is one JSON or YAML object. Its keys are the fields in camelCase; a field that it leaves out has its
default. "Config" stands for everything that the host passes in: an agent's settings and the context of a run.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationError
from pydantic.alias_generators import to_camel

POLICY_VARIABLE = "CLAUDE_K8S_POLICY"
"""Environment variable with the path of the policy's file."""
POLICY_FILE = f"the file named by {POLICY_VARIABLE}"
"""The policy's file, for messages."""
PAPERCLIP_HOME, SHARED_VOLUME, SERVER_SKILLS = "$PAPERCLIP_HOME", "$SHARED_VOLUME", "$SERVER_SKILLS"
"""Words with which an entry of `Folders` may begin; `policy_folders.py` says what they stand for."""
FOLDER_WORDS = (PAPERCLIP_HOME, SHARED_VOLUME, SERVER_SKILLS)
EVERYTHING = ("*",)


@dataclass(frozen=True, slots=True)
class Refusal:
    """One thing that a config asks for and the policy does not allow."""

    key: str
    """What asks for it, such as `kubeconfig` or `podTemplate.spec.nodeName`."""
    rule: str
    """Why it is not allowed, as a short sentence without secrets."""
    field: str
    """The field of the policy, in camelCase, by which the administrator can allow it; "" if none can."""


class PolicyInvalid(ValueError):
    """A policy cannot be used; the message names the field and what is expected."""


def _check_folder(folder: str) -> str:
    if not folder.startswith("/") and folder.split("/", 1)[0] not in {"~", *FOLDER_WORDS}:
        raise ValueError(f"an absolute path, or one that begins with ~ or {' or '.join(FOLDER_WORDS)}")
    return folder


def _check_pattern(pattern: str) -> str:
    if not pattern.strip():
        raise ValueError("a pattern that is not empty")
    return pattern


Folders: TypeAlias = tuple[Annotated[str, AfterValidator(_check_folder)], ...]
"""Each allows itself and everything below it."""
Patterns: TypeAlias = tuple[Annotated[str, AfterValidator(_check_pattern)], ...]
"""Each allows the names that match it as a whole: `*` stands for any text, `?` for one character."""


class Policy(BaseModel):
    """What configs may use. The default suits a host whose administrator is the only author of configs."""

    model_config = ConfigDict(alias_generator=to_camel, extra="forbid", frozen=True, populate_by_name=True)

    kubeconfigs: Folders | None = None
    exec_plugins: Patterns = ()
    instruction_roots: Folders = (PAPERCLIP_HOME, SHARED_VOLUME)
    skill_roots: Folders = (PAPERCLIP_HOME, SHARED_VOLUME, SERVER_SKILLS)
    shared_volume_dirs: Folders | None = None

    @classmethod
    def read(cls, given: "Policy | Mapping[str, Any]") -> "Policy":
        """Return `given` as a `Policy`.

        Raises:
            PolicyInvalid: a field is unknown or has a wrong value.
        """
        if isinstance(given, cls):
            return given
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            raise PolicyInvalid(str(error)) from None

    def allows_exec_plugin(self, command: str) -> bool:
        """Whether a kubeconfig may run this command on the host. `command`: as the kubeconfig spells it."""
        return matches(command, self.exec_plugins)


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a name matches one of the patterns as a whole."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)
