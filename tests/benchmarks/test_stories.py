"""The sequence of the mixed-load story, and how the figures of stories, latency and memory are told."""

from benchmarks import latency, memory
from benchmarks.latency import DIRECT, HIT, MISS
from benchmarks.story import CONCURRENCY, RunStats, outages_section, page_sequence, repeats_section


class TestTheSequence:
    def test_exactly_so_many_are_for_something_asked_for_before(self) -> None:
        pages = page_sequence(1_000, 0.85)
        assert len(pages) == 1_000
        assert len(set(pages)) == 150
        assert sum(page in pages[:number] for number, page in enumerate(pages)) == 850

    def test_pages_come_in_order_of_their_first_time(self) -> None:
        pages = page_sequence(200, 0.85)
        assert list(dict.fromkeys(pages)) == list(range(30))

    def test_every_run_has_the_same(self) -> None:
        assert page_sequence(300, 0.85) == page_sequence(300, 0.85)
        assert page_sequence(300, 0.85) != page_sequence(300, 0.85, seed=2)


class TestTheStory:
    def test_what_was_spared_stands_beside_what_had_to_be(self) -> None:
        without = RunStats(total_seconds=16.1, backend_calls=1_000, successes=[0.32] * 1_000)
        through = RunStats(total_seconds=2.5, backend_calls=150, successes=[0.002] * 1_000, hits=[0.002] * 800)
        told = repeats_section(without, through)
        assert "85.0% (at least 85.0%) | pass" in told
        assert "99.4% (at least 98.4%) | pass" in told

    def test_one_call_too_many_is_short(self) -> None:
        without = RunStats(total_seconds=16.1, backend_calls=1_000, successes=[0.32] * 1_000)
        through = RunStats(total_seconds=2.5, backend_calls=151, successes=[0.002] * 1_000, hits=[0.006] * 800)
        assert repeats_section(without, through).count("**fail**") == 2

    def test_failing_answers_are_told_by_their_median_and_their_longest(self) -> None:
        told = outages_section(
            {
                "without": RunStats(total_seconds=50, backend_calls=1_000, failures=[30.0] * 400),
                "with": RunStats(total_seconds=26, backend_calls=640, failures=[0.0008] * 300 + [1.0] * 40),
                "cached": RunStats(total_seconds=25, backend_calls=100),
            },
            30,
        )
        lines = [line for line in told.splitlines() if line.startswith(("| without", "| with", "| cached"))]
        assert ["30,000.00 ms" in line for line in lines] == [True, False, False]
        assert "0.80 ms" in lines[1]
        assert "1,000.00 ms" in lines[1]
        assert "pass" in lines[1]
        assert lines[2].count("none") == 2

    def test_all_callers_are_busy(self) -> None:
        assert CONCURRENCY < 150, "there are more pages than callers, else some would only wait for others' answers"


class TestLatency:
    def timed(self, miss: float) -> latency.Latencies:
        direct, hit = [0.0001] * 1_000, [0.0003] * 1_000
        return {1_000: {DIRECT: direct, MISS: [0.0001 + miss] * 1_000, HIT: hit}}

    def test_what_a_miss_adds_is_the_difference_at_each_percentile(self) -> None:
        told = latency.section(self.timed(0.0005), {1_000: [0.00002] * 1_000})
        assert "0.50 (under 0.6: pass)" in told
        assert "0.02 ms at 1,000/s" in told
        assert "fail" not in told

    def test_too_much_is_short(self) -> None:
        assert "0.70 (under 0.6: **fail**)" in latency.section(self.timed(0.0007), {1_000: [0.0]})


class TestMemory:
    def test_growth_is_measured_from_warm(self) -> None:
        told = memory.section(90.0, (50_000, 100.0), (1_000_000, 109.0))
        assert "109.0 MB (+9.0%)" in told
        assert told.count("pass") == 2

    def test_more_than_a_tenth_is_short(self) -> None:
        assert "**fail**" in memory.section(90.0, (50_000, 100.0), (1_000_000, 111.0))
        assert "**fail**" in memory.section(131.0, (50_000, 100.0), (1_000_000, 100.0))
