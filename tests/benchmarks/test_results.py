import platform

from benchmarks import machine
from benchmarks.results import replace_section

DOCUMENT = "# Results\n\nHow to read them.\n\n## Latency\n\nold\n\n## Memory\n\nkept\n"


def test_a_section_takes_the_place_of_its_last_run() -> None:
    assert replace_section(DOCUMENT, "Latency", "new\n") == (
        "# Results\n\nHow to read them.\n\n## Latency\n\nnew\n\n## Memory\n\nkept\n"
    )


def test_the_last_section_too() -> None:
    assert replace_section(DOCUMENT, "Memory", "new") == DOCUMENT.replace("kept", "new")


def test_a_new_one_comes_last() -> None:
    assert replace_section(DOCUMENT, "Mixed load", "first\n") == DOCUMENT + "\n## Mixed load\n\nfirst\n"


def test_a_title_that_begins_like_another_is_another() -> None:
    assert "kept" in replace_section(DOCUMENT, "Mem", "new")


def test_running_twice_changes_nothing() -> None:
    once = replace_section(DOCUMENT, "Latency", "new\n\n### Inner\n\ntable\n")
    assert replace_section(once, "Latency", "new\n\n### Inner\n\ntable\n") == once


def test_the_machine_is_told_without_its_name() -> None:
    told = machine.describe()
    assert "cores" in told
    assert "granian" in told
    assert platform.node() not in told


def test_a_program_that_is_not_there_has_no_version() -> None:
    assert machine.version_of("no-such-program", "-v") == ""
    assert machine.version_of("python3", "--version").startswith("3.")
