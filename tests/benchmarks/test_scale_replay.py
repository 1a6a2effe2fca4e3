"""The replay of one worker's traffic as that of many: what each copy has of its own, and when it sends it."""

import shutil
from collections import Counter

import pytest

from benchmarks.scale.measuring import Usage
from benchmarks.scale.replay import measuring
from benchmarks.scale.replay.copies import last_entry
from benchmarks.scale.replay.measuring import Real
from benchmarks.scale.replay.profile import Profile, summed
from benchmarks.scale.replay.recorder import Recording, Sent
from benchmarks.scale.replay.report import Trial, check_rows, difference
from benchmarks.scale.replay.sender import Replayed
from benchmarks.scale.replay.templates import chunks, learn, names_in, salt
from benchmarks.scale.replay.timetable import Timetable, schedule
from benchmarks.scale.replay.wire import Expected, Kind, Ledger, Replies, Words, encode, expected
from resilience.cache.redis_scripts import GET, PUT

OWN, SHARED, OWNER = b"0123456789abcdef", b"fedcba9876543210", b"aaaabbbbccccdddd"
FENCE = b"1796046205552561"
FENCES = b"gw:{s1}:fences"


def script(digest: str, keys: list[bytes], *arguments: bytes) -> Words:
    return [b"EVALSHA", digest.encode(), b"%d" % len(keys), *keys, *arguments]


LOOKUP = script(GET.digest, [FENCES, b"gw:{s1}:e:" + OWN], b"gw:{s1}:t:", b"65536", b"7200000", b"5000", OWNER + b":7")
STORE = script(
    PUT.digest,
    [FENCES, b"gw:{s1}:e:" + OWN, b"gw:{s1}:t:" + SHARED, b"gw:{s1}:t:s1", b"gw:{s1}:l:" + OWN],
    *(b"\x00\r\n" + SHARED + b"\x92" + OWN, b"599999", FENCE, b"2", OWNER + b":7", b"+", b"1000"),
    *(SHARED, b"s1"),
)
BUCKET = b"gw:rate:" + SHARED
TAKE = script("f" * 40, [BUCKET], b"100", b"60", b"1", b"60", b"1796046209.03")
REFUND = script("e" * 40, [BUCKET], b"1796046208", b"5")


def recording(*commands: Words, seconds: float = 10.0) -> Recording:
    """One command a second, on two connections in turn."""
    sent = [Sent(float(at), 7 + at % 2, [words]) for at, words in enumerate(commands)]
    return Recording(seconds, [], [], sent, [], Counter())


def rendered(words: Words, worker: int, known: dict[bytes, bytes] | None = None) -> bytes:
    (chunk,) = chunks(recording(words), names_in([b"gw:{s1}:t:" + SHARED, BUCKET]))
    return chunk.render(salt(worker, 0), known or {})


@pytest.mark.parametrize("words", [LOOKUP, STORE, TAKE, REFUND, [b"GET", b"gw:breaker:s1"]])
def test_copies_send_as_many_bytes_as_the_recorded_worker(words: Words) -> None:
    assert len(rendered(words, 1, {FENCES: FENCE, BUCKET: b"1796046208"})) == len(encode(words))


def test_each_copy_has_names_of_its_own_in_every_command() -> None:
    first, second = (rendered(LOOKUP, worker) for worker in (1, 2))
    assert first != second
    assert OWN not in first
    own = b"gw:{s1}:e:" + salt(1, 0) + OWN[6:]
    assert own in first
    assert own in rendered(STORE, 1)


def test_shared_names_digests_of_scripts_and_numbers_stay() -> None:
    assert rendered(STORE, 1).count(SHARED) == 3
    assert PUT.digest.encode() in rendered(STORE, 1)
    assert b"599999" in rendered(STORE, 1)


def test_turns_of_a_copy_have_names_of_their_own() -> None:
    assert len({salt(worker, turn) for worker in range(256) for turn in (0, 1, 4_095)}) == 768


def test_a_response_is_stored_with_the_number_that_the_latest_lookup_returned() -> None:
    command = expected(LOOKUP)
    assert command == Expected(Kind.LOOKUP, FENCES)
    assert learn([b"1999999999999999", 0, None], command) == b"1999999999999999"
    data = rendered(STORE, 1, {FENCES: b"1999999999999999"})
    assert b"$16\r\n1999999999999999\r\n" in data
    assert FENCE not in data


def test_tokens_are_returned_to_the_slice_that_they_were_taken_from() -> None:
    command = expected(TAKE)
    assert learn([5, 10, 1, 1_999_999_999, 7], command) == b"1999999999"
    assert b"1999999999" in rendered(REFUND, 1, {command.key: b"1999999999"})


def test_reads_and_the_beginning_of_connections_are_not_sent_as_recorded() -> None:
    made = chunks(recording([b"HELLO", b"3"], [b"XREAD", b"0-0"], [b"EVAL", b"return 1", b"0"], LOOKUP), ())
    assert [chunk.expected for chunk in made] == [(expected(LOOKUP),)]
    assert made[0].connection == 0


def test_each_worker_sends_everything_once_in_a_round_at_another_time() -> None:
    made = chunks(recording(LOOKUP, STORE, TAKE), ())
    events = schedule(made, 10.0, 3)
    assert Counter((event.worker, event.chunk.at) for event in events) == Counter(
        (worker, at) for worker in range(3) for at in (0.0, 1.0, 2.0)
    )
    assert len({event.at for event in events}) == len(events)
    assert all(0 <= event.at < 10.0 for event in events)


def test_a_turn_goes_on_beyond_the_end_of_a_round() -> None:
    """What a worker stores was looked up in the same turn, wherever its round begins."""
    events = schedule(chunks(recording(LOOKUP, STORE, seconds=2.0), ()), 2.0, 4)
    timetable = Timetable(events, 2.0)
    taken = [timetable.take() for _ in range(3 * len(events))]
    for worker in range(4):
        order = [(turn, event.chunk.at) for event, turn in taken if event.worker == worker]
        assert order == sorted(order)
        assert Counter(turn for turn, _ in order).most_common(1)[0][1] == 2
    assert timetable.due >= 6.0


def test_replies_are_counted_as_what_they_are() -> None:
    replies = Replies(Ledger())
    replies.expect_all([expected(LOOKUP), expected(STORE), Expected(Kind.OTHER, b"")])
    data = b"*5\r\n$1\r\n7\r\n:0\r\n$1\r\nx\r\n*1\r\n$0\r\n\r\n:1\r\n" + b"*2\r\n:1\r\n:0\r\n" + b"-ERR no\r\n"
    found = [pair for byte in data for pair in replies.feed(bytes((byte,)))]
    assert len(found) == 3
    assert replies.missing == 0
    counts = {"replies": 3, "found": 1, "missing": 2, "stores": 2, "stored": 1, "bytes received": len(data)}
    assert replies.ledger.counts == counts
    assert replies.ledger.errors == {"ERR no": 1}


def test_messages_of_a_subscription_are_no_replies() -> None:
    replies = Replies(Ledger())
    replies.expect([b"SUBSCRIBE", b"gw:cache", b"gw:breaker"])
    subscribed = b"*3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n"
    replies.feed(subscribed + subscribed + b"*3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nx\r\n")
    assert replies.missing == 0
    assert replies.ledger.counts["messages"] == 1


@pytest.mark.parametrize(
    ("reply", "position"),
    [
        (None, None),
        ({b"gw:{events}": [[b"1-0", []], [b"2-0", []]]}, b"2-0"),
        ([[b"gw:{events}", [[b"1-0", []]]]], b"1-0"),
    ],
)
def test_the_feed_is_read_on_from_its_last_entry(reply: object, position: bytes | None) -> None:
    assert last_entry(reply) == position


def test_time_is_summed_by_part_without_that_of_commands_within_scripts() -> None:
    entries = [
        (1, b"GET gw:breaker:s1", b"127.0.0.1:1"),
        (100, b"EVALSHA " + PUT.digest.encode() + b" 1 gw:{s1}:fences", b"127.0.0.1:1"),
        (20, b"SET gw:{s1}:e:1", b"?:0"),
        (30, b"ZADD gw:{s1}:t:1", b"?:0"),
    ]
    profile = summed(entries, 2.0)
    assert profile.commands == {"circuits": 0.5, "cache: store": 0.5}
    assert profile.within == {"cache: store": 1.0}
    assert profile.seconds["cache: store"] == pytest.approx(50e-6)


def test_the_logs_own_time_is_taken_off_where_scripts_ran_commands() -> None:
    profile = Profile({"a": 1.0, "b": 1.0, "c": 1.0}, {"a": 30.0, "b": 10.0}, {"a": 0.5, "b": 0.3, "c": 0.1})
    corrected = profile.corrected(0.4)
    assert corrected.seconds == pytest.approx({"a": 0.2, "b": 0.2, "c": 0.1})


def trial(**changes: object) -> Trial:
    counts = Counter({"commands": 200, "reads": 20, "replies": 220, "stores": 10, "stored": 10})
    recorded = Counter({"commands": 100, "reads": 10, "stores": 5, "stored": 5})
    fields = {"processor": 0.49, "counts": counts, "unanswered": 0, "errors": Counter[str](), "late": 0.001} | changes
    usage = Usage(processor=fields["processor"], main_thread=0.4, commands=3_000, received=0, sent=0)  # type: ignore[arg-type]
    replayed = Replayed(
        workers=2,
        usage=usage,
        counts=fields["counts"],  # type: ignore[arg-type]
        planned=200,
        lateness=(0.0, fields["late"], 1.0),  # type: ignore[arg-type]
        sender=0.3,
        unanswered=fields["unanswered"],  # type: ignore[arg-type]
        errors=fields["errors"],  # type: ignore[arg-type]
        profile=Profile({}, {}, {}),
    )
    real = Real(2, usage, 1_000.0, 0)
    return Trial(workers=2, wanted=500.0, rate=500.0, seconds=1.0, recorded=recorded, replayed=replayed, real=real)


def test_a_replay_that_sends_what_was_recorded_passes() -> None:
    assert "**fail**" not in check_rows([trial()], 2)


@pytest.mark.parametrize(
    "changes",
    [
        {"processor": 0.51},
        {"counts": Counter({"commands": 190, "reads": 20, "replies": 210, "stores": 10, "stored": 10})},
        {"counts": Counter({"commands": 200, "reads": 20, "replies": 190, "stores": 10, "stored": 10})},
        {"counts": Counter({"commands": 200, "reads": 10, "replies": 210, "stores": 10, "stored": 10})},
        {"counts": Counter({"commands": 200, "reads": 20, "replies": 220, "stores": 10, "stored": 9})},
        {"unanswered": 1},
        {"errors": Counter({"ERR": 1})},
        {"late": 0.2},
    ],
)
def test_a_replay_fails_that_costs_too_much_or_leaves_something_out(changes: dict[str, object]) -> None:
    assert check_rows([trial(**changes)], 2).count("**fail**") == 1


def test_a_replay_that_takes_another_time_than_real_workers_fails() -> None:
    compared = trial()
    assert compared.real is not None
    slow = Usage(processor=0.7, main_thread=0.7, commands=3_000, received=0, sent=0)
    real = Real(2, slow, 1_000.0, 0)
    assert "time for a request, % from real workers" in check_rows([compared], 2)
    changed = Trial(2, 500.0, 500.0, 1.0, compared.recorded, compared.replayed, real)
    assert check_rows([changed], 2).count("**fail**") == 1


def test_differences_are_percent_of_what_is_expected() -> None:
    assert [difference(90, 100), difference(110, 100), difference(0, 0), difference(1, 0)] == [10, 10, 0, 100]


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("redis-server") is None, reason="needs redis-server")
def test_three_copies_send_what_one_worker_sends(monkeypatch: pytest.MonkeyPatch) -> None:
    """In real processes: each response is stored, none is found that another copy has stored, and all is answered."""
    monkeypatch.setattr(measuring, "WARM_SECONDS", 1.0)
    monkeypatch.setattr(measuring, "SETTLE_SECONDS", 1.2)
    monkeypatch.setattr(measuring, "RAMP_SECONDS", 0.3)
    monkeypatch.setattr(measuring, "PROFILE_SECONDS", 0.5)
    recorded = measuring.record(3, 100.0, 1.5)
    replayed = measuring.replay(recorded, 3)
    assert replayed.counts["commands"] == pytest.approx(replayed.planned, rel=0.2)
    assert replayed.counts["stored"] == replayed.counts["stores"] > 0
    assert replayed.counts["missing"] >= 3 * recorded.recording.counts["missing"] * 0.8
    assert replayed.unanswered == 0
    assert not replayed.errors
    assert replayed.counts["reads"] > 0
    assert replayed.profile.commands["cache: store"] > 0
