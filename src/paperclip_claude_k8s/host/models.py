"""The models that an agent can be given: fixed lists, the API's list, and the one the environment names."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from paperclip_claude_k8s.host.context import JsonMap

MODEL_VARIABLE = "ANTHROPIC_MODEL"
BEDROCK_SWITCH = "CLAUDE_CODE_USE_BEDROCK"

_TRUE_VALUES = frozenset({"1", "true", "yes", "on"})
"""Values of `BEDROCK_SWITCH`, in lower case, that the CLI reads as true."""


@dataclass(frozen=True, slots=True)
class Model:
    """One entry of the host's model picker."""

    id: str
    label: str

    def to_wire(self) -> JsonMap:
        return {"id": self.id, "label": self.label}


Models: TypeAlias = tuple[Model, ...]

ANTHROPIC_MODELS: Models = (
    Model("claude-opus-5", "Claude Opus 5"),
    Model("claude-sonnet-5", "Claude Sonnet 5"),
    Model("claude-fable-5-1", "Claude Fable 5.1"),
    Model("claude-fable-5", "Claude Fable 5"),
    Model("claude-mythos-5", "Claude Mythos 5"),
    Model("claude-opus-4-8", "Claude Opus 4.8"),
    Model("claude-opus-4-7", "Claude Opus 4.7"),
    Model("claude-opus-4-6", "Claude Opus 4.6"),
    Model("claude-sonnet-4-6", "Claude Sonnet 4.6"),
    Model("claude-sonnet-4-5", "Claude Sonnet 4.5"),
    Model("claude-haiku-4-5", "Claude Haiku 4.5"),
)
"""Models of the Anthropic API and of subscriptions; newer ones come from the API's own list."""

BEDROCK_MODELS: Models = (
    Model("global.anthropic.claude-opus-4-8", "Bedrock Claude Opus 4.8"),
    Model("global.anthropic.claude-opus-4-6-v1", "Bedrock Claude Opus 4.6"),
    Model("global.anthropic.claude-sonnet-4-6", "Bedrock Claude Sonnet 4.6"),
    Model("global.anthropic.claude-sonnet-4-5-20250929-v1:0", "Bedrock Claude Sonnet 4.5"),
    Model("global.anthropic.claude-haiku-4-5-20251001-v1:0", "Bedrock Claude Haiku 4.5"),
)
"""Global inference profiles, which work in every region."""


def uses_bedrock(env: Mapping[str, str]) -> bool:
    """Return whether this environment makes the CLI use Amazon Bedrock."""
    switched_on = env.get(BEDROCK_SWITCH, "").strip().lower() in _TRUE_VALUES
    return switched_on or bool(env.get("ANTHROPIC_BEDROCK_BASE_URL", "").strip())


def is_bedrock_id(model: str) -> bool:
    """Return whether this is a Bedrock model id, inference profile or ARN."""
    return model.startswith(("arn:", "anthropic.")) or ".anthropic." in model


def known_models(env: Mapping[str, str]) -> Models:
    """Return the model that the environment names, if any, and the fixed list for this environment."""
    return _without_duplicates(
        (*_environment_model(env), *(BEDROCK_MODELS if uses_bedrock(env) else ANTHROPIC_MODELS))
    )


def with_live_models(env: Mapping[str, str], live: Iterable[Model]) -> Models:
    """Return the model that the environment names, if any, the API's list `live`, and the fixed list."""
    return _without_duplicates((*_environment_model(env), *live, *ANTHROPIC_MODELS))


def read_live_list(body: object) -> Models:
    """Return the models in a response of `GET /v1/models`, without entries of another shape."""
    items = body.get("data") if isinstance(body, Mapping) else None
    models = (_live_model(item) for item in items) if isinstance(items, list) else ()
    return tuple(model for model in models if model is not None)


def detect_model(env: Mapping[str, str]) -> JsonMap | None:
    """Return the model of agents whose config names none, as `{model, provider, source, candidates}`.

    None if the environment names no model: then the CLI chooses one.
    """
    named = _environment_model(env)
    if not named:
        return None
    return {
        "model": named[0].id,
        "provider": "bedrock" if uses_bedrock(env) else "anthropic",
        "source": MODEL_VARIABLE,
        "candidates": [model.id for model in known_models(env)],
    }


def _environment_model(env: Mapping[str, str]) -> Models:
    """Return the model that the environment names, as a tuple of one; empty if it names none."""
    name = env.get(MODEL_VARIABLE, "").strip()
    labels = {model.id: model.label for model in (*ANTHROPIC_MODELS, *BEDROCK_MODELS)}
    return (Model(name, labels.get(name, name)),) if name else ()


def _live_model(item: object) -> Model | None:
    given = item if isinstance(item, Mapping) else {}
    name, label = given.get("id"), given.get("display_name")
    if not isinstance(name, str) or not name.strip():
        return None
    return Model(name.strip(), label.strip() if isinstance(label, str) and label.strip() else name.strip())


def _without_duplicates(models: Iterable[Model]) -> Models:
    """Return the first model with each id."""
    first: dict[str, Model] = {}
    for model in models:
        first.setdefault(model.id, model)
    return tuple(first.values())
