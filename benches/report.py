"""From the raw results to the table: everything that is printed is read from the JSON."""

from __future__ import annotations

from typing import Any

from benches import bridge, iperf, report_coordinators, report_data_plane, report_embedded, report_partitions
from benches.peers import WHOLE
from benches.report_rows import row, shower


def markdown(results: dict[str, Any]) -> str:
    """The table of one run."""
    machine = results["machine"]
    workloads = [result for result in results["workloads"] if "failed" not in result]
    whole = {name: peer for name, peer in results["peers"].items() if name in WHOLE}
    heads = ["median (lowest to highest)", *(f"{name} {peer['version']}" for name, peer in whole.items())]
    if len(whole) == 2:
        heads.append("ratio")
    lines = [
        (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, Linux {machine['kernel']}, "
            f"{results['clients']['java']}; {results['begun']}"
        ),
        "",
        "| " + " | ".join(heads) + " |",
        "|---|" + "---:|" * (len(heads) - 1),
    ]
    above = len(lines)
    notes = ["A quick run: these figures are no figures."] if results.get("effort", {}).get("share", 1) < 1 else []
    for result in workloads:
        if result["workload"] == "start":
            lines.append(row("start to first ApiVersions, s", result["start_s"], "{:.2f}".format))
            lines.append(row("start to first acknowledged record, s", result["first_record_s"], "{:.2f}".format))
            lines.append(row("resident memory idle, MiB", result["idle_rss_mib"], "{:.0f}".format))
        if result["workload"] == "produce":
            kind = f"produce {result['record_bytes']} B, acks={result['producer']['acks']}, un-synced"
            lines.append(row(f"{kind}: MiB/s", result["mib_per_s"], "{:.0f}".format, result["settled"]))
            lines.append(row("broker CPU, s per GiB", result["broker_cpu_s_per_gib"], "{:.2f}".format))
            lines.append(row("machine busy, s per GiB", result["machine_busy_s_per_gib"], "{:.2f}".format))
            lines.append(row("resident memory after it, MiB", result["rss_mib"], "{:.0f}".format))
            notes.append(f"Page cache emptied before each round of produce: {', '.join(result['page_cache'])}.")
        if result["workload"] == "recovery":
            kind = f"restart after SIGKILL, {result['gib']:g} GiB in {result['partitions']} partitions"
            lines.append(row(f"{kind}, s", result["restart_s"], "{:.2f}".format))
            lines.append(row("of which loading its logs, by its own log, s", result["logs_s"], "{:.2f}".format))
            lines.append(row("past the recovery points of it, GiB", result["past_recovery_point_gib"], "{:.2f}".format))
        lines += report_coordinators.rows(result)
        lines += report_partitions.rows(result)
    if len(lines) == above:  # nothing beside another broker
        del lines[1:]
    lines += report_data_plane.table(workloads, list(results["peers"]))
    lines += bridge.table(workloads)
    for result in workloads:
        if result["workload"] == "storage":
            lines += storage_table(result["programs"])
        if result["workload"] == "coordinators":
            lines += report_coordinators.alone(result)
    lines += report_embedded.table(workloads)
    notes += [iperf.words(result) for result in workloads if result["workload"] == "limit"]
    notes += [f"Without {name}: {why}" for name, why in results.get("not_measured", {}).items()]
    notes += [f"Failed: {result['title']}: {result['failed']}" for result in results["workloads"] if "failed" in result]
    return "\n".join([*lines, "", *notes, took(results)])


def took(results: dict[str, Any]) -> str:
    """How long it all was, and what of it each workload."""
    each: dict[str, int] = {}
    for result in results["workloads"]:
        each[result["workload"]] = each.get(result["workload"], 0) + result.get("took_s", 0)
    parts = ", ".join(f"{name} {seconds}" for name, seconds in each.items())
    return f"The run took {results['took_s']} s ({parts})."


def storage_table(programs: dict[str, Any]) -> list[str]:
    """The engine without a broker, beside the machine's limit of the same rounds."""
    lines = [
        "",
        "| storage engine, median (lowest to highest) | Ottla | limit | ratio | bar |",
        "|---|---:|---:|---:|---:|",
    ]

    def add(title: str, ours: str, limit: str, ratio: str, bar: str) -> None:
        lines.append(f"| {title} | {ours} | {limit} | {ratio} | {bar} |")

    if program := programs.get("append_speed"):
        show = shower(program["append"])
        about = program["about"]
        add(
            f"append, {about['batch_records']:.0f} x 1 KiB, beside CRC32C and write: MiB per s of CPU",
            show("append_mib_per_cpu_s", 0),
            show("limit_mib_per_cpu_s", 0),
            show("ratio", 2),
            "<= 1.5",
        )
    if program := programs.get("group_commit_speed"):
        show = shower(program["group_commit"])
        about = program["about"]
        add(
            f"{about['appenders']:.0f} appenders beside one, syncs of {about['sync_ms']:g} ms: appends/s",
            show("shared_per_s", 0),
            show("alone_per_s", 0),
            show("times", 1),
            ">= 14",
        )
    if program := programs.get("seek_speed"):
        sizes = sorted({each["segments"] for each in program["seek"]})
        for what in ("offset", "timestamp"):
            for size in sizes:
                rounds = [each for each in program["seek"] if each["segments"] == size]
                show = shower([{**each, "ratio": each[f"{what}_us"] / each["read_page_us"]} for each in rounds])
                title = f"seek by {what}, {size:.0f} segments, beside one read of 4 KiB: us"
                add(title, show(f"{what}_us", 2), show("read_page_us", 2), show("ratio", 1), "us")
    if program := programs.get("compaction_speed"):
        show = shower(program["compaction"])
        dead = f"{program['compaction'][0]['dead_percent']:.0f} % dead"
        title = f"compaction, 1 KiB records, {dead}, beside CRC32C, read and write: MiB read per s of CPU"
        add(title, show("mib_per_cpu_s", 0), show("limit_mib_per_cpu_s", 0), show("ratio", 2), ">= 150 MiB/s")
        add("the same by the clock: MiB read per s", show("mib_per_s", 0), "", "", ">= 150 MiB/s")
    if program := programs.get("transactions_speed"):
        count = f"{program['about']['transactions']:,.0f}"
        for ending in ("committed", "aborted"):
            show = shower(program[ending])
            for title, figure in (
                (f"a transaction of one record, {ending}, in an empty partition: us", "first_us"),
                (f"the same after {count} of them: us", "alone_us"),
                (f"and after {count} behind one that stays open: us", "behind_open_us"),
                ("a read of committed records at the tail then: us", "read_tail_us"),
            ):
                add(title, show(figure, 2), "", "", "" if figure == "first_us" else "does not grow")
    if program := programs.get("recovery_speed"):
        show = shower(program["recovery"])
        gib = f"{program['recovery'][0]['gib_scanned']:.0f} GiB in {program['about']['partitions']:.0f} partitions"
        scan = f"recovery of {gib}, scan beside CRC32C and read, {program['about']['threads']:.0f} threads: GiB/s"
        add(scan, show("scan_gib_per_s", 2), show("limit_scan_gib_per_s", 2), "", ">= 1 GiB/s")
        add("and its sync beside that of as many new bytes: s", show("sync_s", 2), show("limit_sync_s", 2), "", "")
        for how in ("a_stop", "a_crash"):
            for idle in program.get(f"idle_after_{how}", []):
                opened = (
                    f"{idle['open_s']:.2f} s, {idle['resident_mib']:.0f} MiB, {idle['descriptors']:.0f} descriptors"
                )
                title = f"{idle['found']:.0f} idle partitions open after {how.replace('_', ' ')}"
                add(title, opened, "", "", "seconds, < 600 MiB")
    return lines
