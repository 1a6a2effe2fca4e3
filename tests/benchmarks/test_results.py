import platform

from benchmarks import machine
from benchmarks.results import replace_section

DOCUMENT = "# Results\n\nHow to read them.\n\n## Latency\n\nold\n\n## Memory\n\nkept\n"


def test_a_section_is_replaced() -> None:
    assert replace_section(DOCUMENT, "Latency", "new\n") == (
        "# Results\n\nHow to read them.\n\n## Latency\n\nnew\n\n## Memory\n\nkept\n"
    )


def test_the_last_section_is_replaced() -> None:
    assert replace_section(DOCUMENT, "Memory", "new") == DOCUMENT.replace("kept", "new")


def test_a_new_section_is_appended() -> None:
    assert replace_section(DOCUMENT, "Mixed load", "first\n") == DOCUMENT + "\n## Mixed load\n\nfirst\n"


def test_a_title_that_is_a_prefix_of_another_is_distinct() -> None:
    assert "kept" in replace_section(DOCUMENT, "Mem", "new")


def test_replacing_twice_changes_nothing() -> None:
    once = replace_section(DOCUMENT, "Latency", "new\n\n### Inner\n\ntable\n")
    assert replace_section(once, "Latency", "new\n\n### Inner\n\ntable\n") == once


def test_the_machines_description_omits_its_name() -> None:
    description = machine.describe()
    assert "cores" in description
    assert "granian" in description
    assert platform.node() not in description


def test_a_missing_program_has_no_version() -> None:
    assert machine.version_of("no-such-program", "-v") == ""
    assert machine.version_of("python3", "--version").startswith("3.")
