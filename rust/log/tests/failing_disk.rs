//! Every call to the disk fails once, with EIO and with ENOSPC: nothing panics, nothing acknowledged is lost, nothing is served that is not
//! on the disk. And a disk that fills up, wherever it does, refuses records and nothing else.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

#[path = "failing/life.rs"]
mod life;
#[path = "failing/world.rs"]
mod world;

use std::path::Path;

use life::Told;
use ottla_log::env::faulty::{Call, EIO, ENOSPC, Fault};
use world::World;

/// Every so many of the calls fail. On files of a real disk (`OTTLA_DISK=portable`) each sync takes its time, and what fails is the same.
fn stride() -> usize {
    if std::env::var_os(ottla_log::env::DISK_VARIABLE).is_some() { 23 } else { 1 }
}

/// All kinds of calls were among those that failed, if none was left out.
fn is_exhaustive() -> bool {
    stride() == 1
}

/// The calls of a run in which nothing fails.
fn calls_of_a_run() -> Vec<(Call, std::path::PathBuf)> {
    let world = World::new(0);
    world.faults.trace();
    let told = world.live();
    assert_eq!(told.refused, Vec::<String>::new());
    let calls = world.faults.traced();
    let names = |what: &str| calls.iter().any(|(_, path)| path.to_string_lossy().contains(what));
    assert!(names(".swap") && names(".deleted") && names(".txnindex") && names(".snapshot"), "something was not done");
    world.check(&told, "nothing failed");
    calls
}

fn fails_once(errno: i32, concerns: impl Fn(Call) -> bool) {
    let calls = calls_of_a_run();
    assert!(calls.len() > 300, "{} calls", calls.len());
    let mut kinds = std::collections::HashSet::new();
    for (at, (call, path)) in calls.iter().enumerate().filter(|(_, (call, _))| concerns(*call)).step_by(stride()) {
        let world = World::new(0);
        world.faults.fail(Fault::new(errno).after(at as u64).once());
        let told = world.live();
        assert_eq!(world.faults.tripped(), 1, "call {at}, {call:?} of {}", path.display());
        kinds.insert(*call);
        world.faults.heal();
        world.check(
            &told,
            &format!("errno {errno} at call {at}, {call:?} of {}, refused {:?}", path.display(), told.refused),
        );
    }
    let missing =
        Call::CHANGES.iter().filter(|call| concerns(**call) && !kinds.contains(call) && **call != Call::Reserve);
    assert!(!is_exhaustive() || missing.clone().next().is_none(), "{:?} never failed", missing.collect::<Vec<_>>());
}

/// Each call that a whole life of a directory makes fails once with EIO.
#[test]
fn eio_at_every_call() {
    fails_once(EIO, |_| true);
}

/// Each call that needs room fails once with ENOSPC.
#[test]
fn enospc_at_every_call() {
    fails_once(ENOSPC, |call| Call::CHANGES.contains(&call));
}

/// How a life ends before the one whose opening is made to fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    Crash,
    /// With a marker in one partition.
    FailedSync,
    /// With a directory that says that memory cannot be believed.
    FailedMarker,
}

fn lived(before: Before) -> (World, Told) {
    let world = World::new(0);
    let sync = Fault::new(EIO).of(&[Call::Sync]);
    match before {
        Before::Crash => {}
        Before::FailedSync => world.faults.fail(sync.at("t-0/00000000000000000000.log").after(3).once()),
        Before::FailedMarker => world.faults.fail(sync.after(40)),
    }
    let told = world.live_and_crash();
    assert_eq!(told.directory_failed, before == Before::FailedMarker);
    assert_eq!(world.faults.tripped() > 0, before != Before::Crash);
    world.faults.heal();
    (world, told)
}

/// Each call of an opening after a crash fails once, and another opening finds everything: also when a marker asks for a cut, and when tails
/// are read from the disk.
#[test]
fn recovery_fails_at_every_call() {
    let mut kinds = std::collections::HashSet::new();
    for before in [Before::Crash, Before::FailedSync, Before::FailedMarker] {
        let (world, told) = lived(before);
        world.faults.trace();
        drop(world.open().unwrap());
        let calls = world.faults.traced();
        world.check(&told, &format!("{before:?}, nothing failed"));
        for (at, (call, path)) in calls.iter().enumerate().step_by(stride()) {
            for errno in [EIO, ENOSPC] {
                let (world, told) = lived(before);
                world.faults.fail(Fault::new(errno).after(at as u64).once());
                let opened = world.open();
                let what =
                    format!("{before:?}, errno {errno} at call {at} of an opening, {call:?} of {}", path.display());
                drop(opened);
                kinds.insert(*call);
                world.faults.heal();
                world.check(&told, &what);
            }
        }
    }
    for call in [Call::OpenDirect, Call::Read, Call::Sync, Call::SyncDir, Call::SetLen, Call::RemoveFile, Call::List] {
        assert!(!is_exhaustive() || kinds.contains(&call), "{call:?} was never made");
    }
}

/// From some call on every one fails, for good: as a disk that dies. Not even the note can be changed then; what can be written again was
/// mounted anew, or another kernel runs.
#[test]
fn a_disk_that_dies() {
    let calls = calls_of_a_run().len();
    for at in (0..calls).step_by(stride()) {
        let world = World::new(0);
        world.faults.fail(Fault::new(EIO).after(at as u64));
        let told = world.live();
        world.faults.heal();
        world.reboot();
        world.check(&told, &format!("dead from call {at} of {calls}"));
    }
}

/// From some sync on every one fails while all else works, the marker's too: only direct reads tell what is on the disk.
#[test]
fn every_sync_fails_from_some_on() {
    let calls = calls_of_a_run();
    let syncs = calls.iter().filter(|(call, _)| *call == Call::Sync).count();
    let mut directories = 0;
    for at in (0..syncs).step_by(stride()) {
        let world = World::new(0);
        world.faults.fail(Fault::new(EIO).of(&[Call::Sync]).after(at as u64));
        let told = world.live();
        directories += usize::from(told.directory_failed);
        world.faults.heal();
        world.check(&told, &format!("syncs fail from the {at}th of {syncs}"));
    }
    assert!(directories > syncs / stride() / 4, "the directory went offline {directories} times in {syncs}");
}

/// A process that is killed between a sync that failed and the note of it leaves no word, and memory shows the kernel's next process pages
/// that look clean: what they have and the disk has not is not served. (Here the note and the marker fail, which leaves as little.)
#[test]
fn killed_before_a_failed_sync_is_noted() {
    for at in 0..30 {
        let world = World::new(0);
        world.faults.fail(Fault::new(EIO).of(&[Call::Sync]).at("t-0/00000000000000000000.log").after(at).once());
        world.faults.fail(Fault::new(EIO).of(&[Call::Write, Call::RemoveFile]).at(ottla_log::health::NOTE).after(1));
        world.faults.fail(Fault::new(EIO).at("ottla-durable-offset.tmp"));
        let told = world.live_and_crash();
        if !told.directory_failed {
            assert!(at > 3, "the log is synced at each append");
            break;
        }
        world.faults.heal();
        world.check(&told, &format!("killed at sync {at}"));
    }
}

const RESERVE: u64 = 16 << 10;

/// The disk is full from some byte on. Whatever is refused leaves nothing behind; reads, DeleteRecords, checkpoints, metadata and a clean stop
/// go on; records are taken again once there is room.
#[test]
fn full_from_every_byte_on() {
    let needed = {
        let world = World::new(RESERVE);
        let before = world.used();
        world.live();
        world.peak() - before
    };
    let mut refusals = 0;
    for spare in (RESERVE + 2048..needed).step_by(97 * stride()) {
        let world = World::new(RESERVE);
        world.disk.fill_up(spare);
        let told = world.live();
        let what = format!("{spare} of {needed} bytes");
        let harmless = |refused: &&String| ["append", "roll", "compact"].iter().any(|what| refused.starts_with(what));
        let others: Vec<&String> = told.refused.iter().filter(|refused| !harmless(refused)).collect();
        assert!(others.is_empty(), "{what}: {others:?}");
        assert!(told.stopped_cleanly, "{what}");
        refusals += told.refused.len();
        // Full still: opened, read, its begin deleted, and stopped again.
        let again = world.live_on_a_full_disk(&told, &what);
        world.faults.heal();
        world.check(&again, &what);
    }
    assert!(refusals > 50 / stride(), "{refusals} refusals");
}

/// A directory of an earlier version, or of Apache Kafka, has no note: after a crash its tail is read from the disk, once.
#[test]
fn no_note() {
    let world = World::new(0);
    let told = world.live_and_crash();
    world.remove(&Path::new("/data").join(ottla_log::health::NOTE));
    world.check(&told, "without a note");
}

/// What was told to be durable is a claim about the disk: this fails if the world does not look.
#[test]
fn the_world_looks() {
    let world = World::new(0);
    let mut told: Told = world.live();
    told.durable.get_mut("t").unwrap().insert(10_000, "never written".to_owned());
    let seen = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check(&told, "a lie")));
    assert!(seen.is_err());
}
