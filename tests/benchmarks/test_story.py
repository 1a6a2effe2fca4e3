"""The page sequence of the mixed load, and the reports of mixed load, latency and memory."""

from benchmarks import latency, memory
from benchmarks.latency import DIRECT, HIT, MISS
from benchmarks.story import CONCURRENCY, RunStats, outages_section, page_sequence, repeats_section


class TestPageSequence:
    def test_exactly_the_given_share_are_repeats(self) -> None:
        pages = page_sequence(1_000, 0.85)
        assert len(pages) == 1_000
        assert len(set(pages)) == 150
        assert sum(page in pages[:number] for number, page in enumerate(pages)) == 850

    def test_new_pages_come_in_order(self) -> None:
        pages = page_sequence(200, 0.85)
        assert list(dict.fromkeys(pages)) == list(range(30))

    def test_every_run_has_the_same_sequence(self) -> None:
        assert page_sequence(300, 0.85) == page_sequence(300, 0.85)
        assert page_sequence(300, 0.85) != page_sequence(300, 0.85, seed=2)


class TestMixedLoad:
    def test_savings_are_reported_next_to_their_thresholds(self) -> None:
        without = RunStats(total_seconds=16.1, backend_calls=1_000, successes=[0.32] * 1_000)
        through = RunStats(total_seconds=2.5, backend_calls=150, successes=[0.002] * 1_000, hits=[0.002] * 800)
        report = repeats_section(without, through)
        assert "85.0% (at least 85.0%) | pass" in report
        assert "99.4% (at least 98.4%) | pass" in report

    def test_one_call_too_many_fails(self) -> None:
        without = RunStats(total_seconds=16.1, backend_calls=1_000, successes=[0.32] * 1_000)
        through = RunStats(total_seconds=2.5, backend_calls=151, successes=[0.002] * 1_000, hits=[0.006] * 800)
        assert repeats_section(without, through).count("**fail**") == 2

    def test_failed_responses_are_reported_by_median_and_maximum(self) -> None:
        report = outages_section(
            {
                "without": RunStats(total_seconds=50, backend_calls=1_000, failures=[30.0] * 400),
                "with": RunStats(total_seconds=26, backend_calls=640, failures=[0.0008] * 300 + [1.0] * 40),
                "cached": RunStats(total_seconds=25, backend_calls=100),
            },
            30,
        )
        lines = [line for line in report.splitlines() if line.startswith(("| without", "| with", "| cached"))]
        assert ["30,000.00 ms" in line for line in lines] == [True, False, False]
        assert "0.80 ms" in lines[1]
        assert "1,000.00 ms" in lines[1]
        assert "pass" in lines[1]
        assert lines[2].count("none") == 2

    def test_there_are_fewer_callers_than_pages(self) -> None:
        assert CONCURRENCY < 150, "otherwise some callers would only wait for the responses of others"


class TestLatency:
    def timed(self, miss: float) -> latency.Latencies:
        direct, hit = [0.0001] * 1_000, [0.0003] * 1_000
        return {1_000: {DIRECT: direct, MISS: [0.0001 + miss] * 1_000, HIT: hit}}

    def test_a_misses_overhead_is_the_difference_at_each_percentile(self) -> None:
        report = latency.section(self.timed(0.0005), {1_000: [0.00002] * 1_000})
        assert "0.50 (under 0.6: pass)" in report
        assert "0.02 ms at 1,000/s" in report
        assert "fail" not in report

    def test_an_excessive_latency_fails(self) -> None:
        assert "0.70 (under 0.6: **fail**)" in latency.section(self.timed(0.0007), {1_000: [0.0]})


class TestMemory:
    def test_growth_is_measured_from_the_warm_state(self) -> None:
        report = memory.section(90.0, (50_000, 100.0), (1_000_000, 109.0))
        assert "109.0 MB (+9.0%)" in report
        assert report.count("pass") == 2

    def test_growth_above_ten_per_cent_fails(self) -> None:
        assert "**fail**" in memory.section(90.0, (50_000, 100.0), (1_000_000, 111.0))
        assert "**fail**" in memory.section(131.0, (50_000, 100.0), (1_000_000, 100.0))
