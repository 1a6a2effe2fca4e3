"""The settings of a service, made from a preset and a person's answers. Pure."""

from collections.abc import Mapping
from typing import Any

from routing.presets.expand import PRESET
from routing.presets.shipped import ServicePreset


def service_settings(name: str, preset: ServicePreset, answers: Mapping[str, str]) -> dict[str, Any]:
    """The service's own settings. Those that its preset has too are left out. `answers` are by the questions' keys."""
    filled: dict[str, Any] = _filled(preset.connect.settings, answers)
    own = {key: value for key, value in filled.items() if value != preset.service.get(key)}
    return {PRESET: name, **own}


def _filled(value: Any, answers: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _filled(item, answers) for key, item in value.items()}
    if isinstance(value, list):
        return [_filled(item, answers) for item in value]
    if isinstance(value, str):
        for key, answer in answers.items():
            value = value.replace(f"{{{key}}}/", f"{answer.rstrip('/')}/").replace(f"{{{key}}}", answer)
    return value
