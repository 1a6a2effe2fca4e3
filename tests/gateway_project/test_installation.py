"""What tells the databases of installations apart."""

import pytest

from gateway_project.environment.installation import database_digest


def test_one_file_has_one_digest_however_it_is_written() -> None:
    assert database_digest("sqlite:////a/b%20c/d") == database_digest("sqlite:////a/x/../b c/d")


def test_databases_have_digests_of_their_own() -> None:
    urls = ["sqlite:////a/b", "sqlite:////a/c", "postgresql://u:secret@h/a", "postgresql://u:secret@h/b"]
    digests = {database_digest(url) for url in urls}
    assert len(digests) == 4
    assert not any("secret" in digest for digest in digests)


@pytest.mark.parametrize("url", ["sqlite://:memory:", "sqlite:///:memory:", "sqlite://"])
def test_a_database_in_memory_has_none(url: str) -> None:
    assert database_digest(url) == ""
