"""Writes out YAML's anchors, aliases and merge keys, which files of others have and this gateway's do not."""

from typing import Any, Final

import yaml

from routing.configuration.document import LIMIT, parse
from routing.configuration.faults import ConfigurationError, Fault

MAX_NODES: Final = 200_000
"""What a file may expand to: a few aliases of aliases would expand to any size."""
_MERGE: Final = "tag:yaml.org,2002:merge"


class TooLarge(ValueError):
    """The file expands to more than MAX_NODES, or without end."""


class _Plain(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


def expanded(text: str) -> str:
    """The same document without aliases. Raises yaml.YAMLError and TooLarge."""
    node = yaml.compose(text, Loader=yaml.SafeLoader)
    if node is None:
        return text
    return str(yaml.serialize(_Copy().of(node), Dumper=_Plain, allow_unicode=True))


def parse_with_aliases(content: bytes) -> Any:
    """The structure of a file in YAML or JSON, its aliases written out. Raises ConfigurationError."""
    try:
        return parse(content).structure
    except ConfigurationError:
        text = _expanded(content)
        if text is None:
            raise
    return parse(text).structure


def _expanded(content: bytes) -> str | None:
    """None for a file without anchors, or with other faults. Raises ConfigurationError."""
    if b"&" not in content or len(content) > LIMIT:
        return None
    try:
        return expanded(content.decode("utf-8-sig"))
    except TooLarge:
        raise ConfigurationError([Fault((), "the aliases of the file expand to too much")]) from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError):
        return None


class _Copy:
    """Copies nodes, each as often as it is referred to."""

    def __init__(self) -> None:
        self._count = 0
        self._open: set[int] = set()

    def of(self, node: yaml.Node) -> yaml.Node:
        self._count += 1
        if self._count > MAX_NODES or id(node) in self._open:
            raise TooLarge
        if isinstance(node, yaml.ScalarNode):
            return yaml.ScalarNode(node.tag, node.value, style=node.style)
        self._open.add(id(node))
        made: yaml.Node
        if isinstance(node, yaml.MappingNode):
            made = yaml.MappingNode(node.tag, self._pairs(node))
        else:
            made = yaml.SequenceNode(node.tag, [self.of(each) for each in node.value])
        self._open.discard(id(node))
        return made

    def _pairs(self, node: yaml.MappingNode) -> list[tuple[yaml.Node, yaml.Node]]:
        """Its own keys, and of those that it merges the ones that it has not, of the first that has them."""
        own = [(self.of(key), self.of(value)) for key, value in node.value if key.tag != _MERGE]
        known = {key.value for key, _ in own if isinstance(key, yaml.ScalarNode)}
        for key, value in node.value:
            if key.tag != _MERGE:
                continue
            for each in value.value if isinstance(value, yaml.SequenceNode) else [value]:
                merged = self.of(each)
                for inner in merged.value if isinstance(merged, yaml.MappingNode) else ():
                    if isinstance(inner[0], yaml.ScalarNode) and inner[0].value not in known:
                        known.add(inner[0].value)
                        own.append(inner)
        return own
