"""PostgreSQL's URLs may name several hosts: `postgresql://user@host1:5432,host2:5433/name`."""

import re
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9a-fA-F:.%]+\]|[^\[\]:,@]+)(?::([0-9]{1,5}))?")


def split_hosts(url: str) -> tuple[str, list[tuple[str, str]]]:
    """The URL with its first host alone, and all hosts with their ports, which may be empty. The list is empty for a
    URL that names no host or one. Raises ValueError.
    """
    scheme, separator, rest = url.partition("://")
    authority, slash, path = rest.partition("/")
    user, at, hosts = authority.rpartition("@")
    if "," not in hosts:
        return url, []
    found = [_HOST.fullmatch(host) for host in hosts.split(",")]
    if not all(found):
        raise ValueError("has an invalid host")
    pairs = [(match[1].strip("[]"), match[2] or "") for match in found if match]
    return f"{scheme}{separator}{user}{at}{hosts.partition(',')[0]}{slash}{path}", pairs
