"""What a run is held against, and what is made of its raw results: verdicts, the README's part, plots."""

from __future__ import annotations

from argparse import Namespace
from typing import TYPE_CHECKING, Any

import pytest

from benches import bars, figures, generator, iperf, kafka_tools, plots, start
from benches.__main__ import arguments, attempt, chosen
from benches.comparison import compare
from benches.data_plane import SATURATIONS
from benches.link import Link, create_topic
from benches.many_partitions import FIGURES
from benches.peers import SETTINGS, Peer
from benches.report import markdown
from ottla.messages import ListOffsetsRequest, ListOffsetsRequestPartition, ListOffsetsRequestTopic
from tests.processes import OttlaProcess, Process
from tests.test_benches import results
from tests.test_house import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from benches.rounds import Round


def spread(median: float) -> dict[str, float]:
    return {"median": median, "low": median / 2, "high": median * 2}


def whole_run(*, ours: float, kafka: float, limit: float) -> dict[str, Any]:
    """Every figure that a bar looks for, alike."""
    told = {"ottla": spread(ours), "kafka": spread(kafka), "limit": spread(limit)}
    plain = {"ottla": ours, "kafka": kafka}
    native = {"mib_per_s": told, "broker_cpu_s_per_gib": told, "peak_rss_mib": plain}
    unpacking = {"unpacking": {"limit_cpu_s_per_gib": 0.5, "compressed_to": 0.2}}
    loop = {f"{kind}_{name}_us": told for kind in ("produce", "end_to_end") for name in ("p50", "p99", "p99.9", "max")}
    workloads: list[dict[str, Any]] = [
        {"workload": "start", "first_record_s": told, "start_s": told, "idle_rss_mib": plain},
        {"workload": "native-fetch", "title": "fetch", **native},
        {"workload": "tiny", "title": "tiny", "requests_per_s": told},
        {"workload": "connections", "title": "idle", "kib_each": plain},
        {"workload": "consumer-performance", "title": "consumer", "mib_per_s": told},
        {"workload": "end-to-end-latency", "title": "ping", "avg_ms": told},
        {"workload": "produce", "title": "producer", "mib_per_s": told},
        {"workload": "partitions", "topics": 7, "partitions": 2, **dict.fromkeys(FIGURES, told)},
        {"workload": "recovery", "gib": 3, "restart_s": told},
    ]
    workloads += [
        {"workload": "native-produce", "case": case, "title": SATURATIONS[case].title, **native, **unpacking}
        for case in ("1KiB", "100B", "keyed", "lz4", "zstd")
    ]
    workloads += [{"workload": "open-loop", "title": f"{rate}", "rate": rate, **loop} for rate in (1_000, 20_000)]
    workloads += [
        {"workload": "durable", "title": "durable", "sync_delay_ms": delay, "records_per_s": told, "p99_us": told}
        for delay in (0.0, 2.0)
    ]
    run = results(workloads[0])
    return {
        **run,
        "effort": {"share": 1.0},
        "command": ["python", "-m", "benches", "--full"],
        "workloads": workloads,
    }


def verdict(run: dict[str, Any], title: str) -> bars.Verdict:
    (found,) = [each for each in bars.verdicts(run) if title in each.title]
    return found


def test_every_figure_has_a_row_with_its_verdict() -> None:
    """A whole run leaves no row without a verdict; an empty one says so in every row and judges none."""
    told = bars.verdicts(whole_run(ours=2, kafka=8, limit=1))
    assert len(told) == 31
    assert len({each.title for each in told}) == 31
    assert None not in {each.met for each in told}
    none = bars.table({"workloads": []})
    assert len(none) == 2 + 31
    assert all(line.endswith("| not measured |") for line in none[2:])


def test_met_and_missed() -> None:
    """Half of Kafka's is enough for a half and not for a third; twice the limit is too much; a bound counts as met."""
    run = whole_run(ours=1.5, kafka=4.5, limit=1.0)
    assert verdict(run, "1 KiB records, big batches").met is True
    assert verdict(run, "fetch from the page cache: broker CPU").met is False  # a third, where a fifth is asked
    assert verdict(run, "ProducerPerformance").met is False
    slower = whole_run(ours=1.6, kafka=4.8, limit=1.0)
    assert verdict(slower, "1 KiB records, big batches").met is False  # 1.6 of the limit
    assert verdict(slower, "100 B records: broker CPU").met is True
    assert verdict(whole_run(ours=4, kafka=2, limit=1), "native generator, produce").met is True
    memory = verdict(whole_run(ours=151, kafka=1, limit=1), "under load")
    assert (memory.met, memory.row.itself) == (False, bars.Bar(most=150))
    # From 1.5 and 4.5 the half that decompression takes goes first.
    packed = verdict(run, "zstd")
    assert packed.met is True
    assert packed.to_kafka == pytest.approx(0.25)


def test_half_of_the_bars_is_no_verdict() -> None:
    """Without the limit nobody knows whether a row with two bars is met; one that is missed already is missed."""
    run = whole_run(ours=1, kafka=9, limit=1)
    produced = next(each for each in run["workloads"] if each.get("case") == "1KiB")
    produced["broker_cpu_s_per_gib"] = {"ottla": spread(1.0), "kafka": spread(9.0)}
    assert verdict(run, "1 KiB records, big batches").met is None
    produced["broker_cpu_s_per_gib"] = {"ottla": spread(8.0), "kafka": spread(9.0)}
    assert verdict(run, "1 KiB records, big batches").met is False


def test_the_table_says_what_is_missed_and_what_did_not_settle() -> None:
    """A figure that still changed carries its mark, whoever's it is."""
    run = whole_run(ours=1.5, kafka=4.5, limit=1.0)
    run["workloads"][1]["settled"] = {"kafka": False}
    lines = bars.table(run)
    assert (
        "| fetch from the page cache: broker CPU, s per GiB | 1.50 (0.75 to 3.00) | 4.50 (2.25 to 9.00) \\* | 0.33 | "
        "<= 1/5 | 1.00 (0.50 to 2.00) | 1.50 | <= 1.5x | **missed** |"
    ) in lines
    assert "| restart after SIGKILL with 3 GiB, s | 1.50" in "\n".join(lines)
    assert "| resident memory, idle, MiB | 2 | 4 | 0.33 | <= 50 MiB |  |  |  | met |" in lines


def test_the_readme_gets_its_part() -> None:
    """Between the marks, with date, versions and command; a failure replaces no figure of a run before it."""
    first, second = whole_run(ours=1.5, kafka=4.5, limit=1.0), whole_run(ours=9, kafka=4.5, limit=1.0)
    second["command"] = ["python", "-m", "benches", "--workloads", "a b"]
    second["workloads"] = [
        next(each for each in second["workloads"] if each["workload"] == "tiny"),
        {"workload": "connections", "title": "idle", "failed": "OSError: no"},
    ]
    text = figures.part([first, second])
    assert "Ottla 1, Apache Kafka 2: `python -m benches --full`, 1 s" in text
    assert "`python -m benches --workloads 'a b'`" in text
    assert "| tiny requests: requests/s | 9 (4 to 18) |" in text
    assert "| idle connection, KiB | 1.5 | 4.5 |" in text
    assert "Of 31 rows" in text
    assert "not measured" not in text
    readme = f"before\n{figures.BEGIN}\nold\n{figures.END}\nbehind\n"
    assert figures.written(readme, "new") == f"before\n{figures.BEGIN}\nnew\n{figures.END}\nbehind\n"
    first["effort"] = {"share": 0.2}
    with pytest.raises(ValueError, match="a quick run has no figures"):
        figures.part([first, second])
    assert "no figures" in markdown({**first, "workloads": []})
    with pytest.raises(ValueError, match=r"README\.md has no"):
        figures.written("no marks", "new")


def test_the_readme_has_its_marks() -> None:
    """One of each, in order: `--write` finds its place."""
    text = (ROOT / "README.md").read_text()
    assert figures.written(text, "x") != text


def test_plots_are_drawn_and_stay_the_same(tmp_path: Path) -> None:
    """Three of a whole run, byte for byte; none of an empty one."""
    pytest.importorskip("matplotlib")
    run = whole_run(ours=1.5, kafka=4.5, limit=1.0)
    drawn = plots.draw(run, tmp_path / "a")
    assert [path.name for path in drawn] == ["cpu.svg", "latency.svg", "bars.svg"]
    again = plots.draw(run, tmp_path / "b")
    assert [path.read_bytes() for path in drawn] == [path.read_bytes() for path in again]
    assert "tiny requests: requests/s" in drawn[2].read_text()
    assert plots.draw({"workloads": []}, tmp_path / "c") == []


def test_a_failure_takes_nothing_with_it() -> None:
    """It stands where the figures would be, in the results and in what is printed."""

    def fails() -> dict[str, Any]:
        raise OSError("no disk")

    (told,) = attempt("tiny", "tiny requests", fails)
    assert told == {"workload": "tiny", "title": "tiny requests", "failed": "OSError: no disk"}
    assert "Failed: tiny requests: OSError: no disk" in markdown(results(told))


def test_what_iperf_tells() -> None:
    """Shares of a core become seconds per GiB; its error is one."""
    end = {
        "sum_sent": {"bytes": 2 << 30, "seconds": 4.0},
        "cpu_utilization_percent": {"host_total": 25.0, "remote_total": 50.0},
    }
    told = iperf.of_iperf({"end": end})
    assert told == {"send_s_per_gib": 0.5, "receive_s_per_gib": 1.0, "mib_per_s": 512.0}
    with pytest.raises(generator.Failed, match="unable to connect"):
        iperf.of_iperf({"error": "unable to connect"})


class Silent(Process):
    """No broker at all."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(folder)
        self.name = name


def test_a_comparison_goes_on_without_a_broker_that_is_not_whole(tmp_path: Path) -> None:
    """One that fails in the warm-up or later is left out, with the reason; Kafka that fails is an error."""
    peers = [Peer(Silent(tmp_path / name, name), "1") for name in ("ottla", "kafka", "kfake", "nisshi")]
    played: list[str] = []

    def one_round(peer: Peer) -> Round:
        played.append(peer.name)
        if peer.name == "kfake" or (peer.name == "nisshi" and played.count("nisshi") == 4):
            raise generator.Failed(f"{peer.name} cannot")
        return {"speed": 1.0}

    told = compare(peers, one_round, ("speed",), ("speed",), lambda: {"speed": 2.0})
    assert told["absent"] == {"kfake": "Failed: kfake cannot", "nisshi": "Failed: nisshi cannot"}
    assert told["speed"].keys() == told["rounds"].keys() == {"ottla", "kafka", "limit"}
    assert played.count("kafka") == played.count("ottla") == 2 + 3

    def fails(peer: Peer) -> Round:
        raise generator.Failed(f"{peer.name} cannot")

    with pytest.raises(generator.Failed, match="kafka cannot"):
        compare(peers[1:2], fails, ("speed",), ("speed",))


def test_a_broker_that_was_not_asked_for_may_be_absent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is asked for by name may not."""
    monkeypatch.setenv("NISSHI", str(tmp_path / "nowhere"))
    monkeypatch.setattr("benches.__main__.PEERS", {"ottla": None, "nisshi": None})
    peers, absent = chosen(tmp_path, Namespace(peers=None, full=True))
    assert [peer.name for peer in peers] == ["ottla"]
    assert "nowhere" in absent["nisshi"]
    with pytest.raises(FileNotFoundError):
        chosen(tmp_path, Namespace(peers="nisshi", full=True))


def test_what_kafkas_tools_print() -> None:
    """The last line counts; fewer records than asked for are a failure, as is a run that told nothing."""
    head = "start.time, end.time, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms\n"
    when = "2026-11-21 23:00:00:001, 2026-11-21 23:00:04:002"
    said = f"{when}, 976.5625, 244.1, 1000000, 249937.5, 501, 3500, 279.01, 285714.2\n"
    told = kafka_tools.consumed(head + said, 1_000_000)
    assert told == {
        "records": 1_000_000,
        "overall_mib_per_s": 244.1,
        "rebalance_ms": 501,
        "fetch_ms": 3500,
        "mib_per_s": 279.01,
    }
    with pytest.raises(generator.Failed, match="did not read 1000001 records"):
        kafka_tools.consumed(head + said, 1_000_001)
    said = "0\t11.2\n\nAvg latency: 0.4321 ms\n\nPercentiles: 50th = 0, 99th = 1, 99.9th = 12\n"
    assert kafka_tools.latencies(said) == {"avg_ms": 0.4321, "p50_ms": 0, "p99_ms": 1, "p99.9_ms": 12}
    with pytest.raises(generator.Failed, match="told no latencies"):
        kafka_tools.latencies("Exception in thread main")


def test_a_start_ends_with_a_record_that_is_there(tmp_path: Path) -> None:
    """What is measured is an acknowledged record, one of each start."""
    peer = Peer(OttlaProcess(tmp_path / "broker", SETTINGS), "this")
    try:
        start.one_start(peer)
        create_topic(peer.process, start.TOPIC, 1)
        peer.process.stop_without_fault()
        told = [start.one_round(peer) for _ in range(2)]
        assert all(each["first_record_s"] > each["start_s"] for each in told)
        peer.process.start()
        assert peer.process.peak_resident_bytes() >= peer.process.resident_bytes() // 2
        link = Link(peer.process)
        wanted = ListOffsetsRequestPartition(partition_index=0, timestamp=-1)
        asked = ListOffsetsRequest(
            replica_id=-1, topics=[ListOffsetsRequestTopic(name=start.TOPIC, partitions=[wanted])]
        )
        answer: Any = link.ask(2, asked)
        link.close()
        assert answer.topics[0].partitions[0].offset == 2
    finally:
        peer.process.kill()


@pytest.mark.parametrize(
    "given, said",
    [
        (["--output", "figures"], "end in .json"),
        (["--workloads", "tiny,huge"], "there is no huge"),
        (["--cases", "2KiB"], "there is no 2KiB"),
        (["--peers", "redpanda"], "there is no redpanda"),
    ],
)
def test_a_run_is_refused_before_it_begins(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], given: list[str], said: str
) -> None:
    """What would fail at the end of an hour, when the plots are drawn, is told at once."""
    monkeypatch.setattr("sys.argv", ["benches", *given])
    with pytest.raises(SystemExit):
        arguments()
    assert said in capsys.readouterr().err
