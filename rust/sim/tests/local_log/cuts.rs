//! A history cut at every place.

use std::collections::BTreeMap;

use ottla_log::local::LocalLog;
use ottla_sim::disk::{Fate, PowerDisk};

use crate::bench::{self, Seen, take};
use crate::follower::Reader;
use crate::history::{History, SYNCED, Step, UNSYNCED};
use crate::model::Model;

/// What becomes of what was not synced.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Chance,
    /// All is lost but files whose names begin or end so.
    AllBut(&'static str),
    /// The process died, the power stays.
    None,
}

/// The page, the cursors, the log: each may come through alone.
const LOSSES: [Loss; 7] = [
    Loss::Chance,
    Loss::Chance,
    Loss::Chance,
    Loss::AllBut(".ottla_published"),
    Loss::AllBut(".ottla_cursors"),
    Loss::AllBut(".log"),
    Loss::None,
];

impl Loss {
    fn of(self, disk: &PowerDisk) {
        match self {
            Loss::Chance => disk.power_on(),
            Loss::None => disk.start_again(),
            Loss::AllBut(name) => disk.power_on_by(|other| {
                if other.starts_with(name) || other.ends_with(name) { Fate::Everything } else { Fate::Nothing }
            }),
        }
    }
}

/// Goes on until something is not acknowledged; how many steps were.
fn play(history: &History, log: &LocalLog, model: &mut Model) -> usize {
    for (count, step) in history.steps.iter().enumerate() {
        if take(log, *step, &model.next(*step)).is_none() {
            return count;
        }
        *model = model.after(*step, history.durability);
        model.fit(log.offsets().log_end);
    }
    history.steps.len()
}

/// What came of many runs.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    /// Readers that came before the owner, and read.
    early: usize,
    /// Those that had to wait for the owner: files were half replaced.
    refused: usize,
    /// Readers that were told to begin again by the opening after them.
    overtaken: usize,
    failures: Vec<String>,
}

struct Cut<'a> {
    history: &'a History,
    disk: PowerDisk,
    loss: Loss,
    operations: u64,
    in_recovery: u64,
}

impl Cut<'_> {
    /// One history with a cut after so many operations, and one in the opening after it.
    fn run(&self, tally: &mut Tally) -> Result<(), String> {
        let (history, disk) = (self.history, &self.disk);
        let steps = history.steps;
        disk.cut_after(Some(self.operations));
        let (mut model, mut count) = (Model::new(), 0);
        if let Some(log) = bench::open(disk, history.durability) {
            count = play(history, &log, &mut model);
            if count == steps.len() {
                let _ = log.close();
            }
        }
        let step = steps.get(count).map(|step| (*step, history.durability));
        disk.cut_after(None);
        self.loss.of(disk);
        let first = self.reader(count > 0)?;

        disk.cut_after(Some(self.in_recovery));
        drop(bench::open(disk, history.durability));
        disk.cut_after(None);
        self.loss.of(disk);
        let mut second = self.reader(count > 0)?;

        let log = bench::open(disk, history.durability).ok_or("it does not open")?;
        let seen = Seen::of(&log)?;
        model.check(&seen, step)?;
        for (reader, when) in [(&first, "the opening that was cut"), (&second, "the opening")] {
            if let Some(reader) = reader {
                let appended = |line: &_| model.was_appended(line, step);
                reader.check(&seen, appended).map_err(|what| format!("a reader before {when}: {what}"))?;
                tally.early += 1;
                tally.refused += usize::from(reader.told.is_some());
            }
        }

        model.adopt(&seen, step);
        for step in [Step::Append(2, &[("a", 99)]), Step::Append(1, &[]), Step::Sync] {
            take(&log, step, &model.next(step)).ok_or("it does not go on")?;
            model = model.after(step, history.durability);
        }
        let seen = Seen::of(&log)?;
        model.check(&seen, None)?;
        if let Some(reader) = &mut second {
            let told = reader.go_on(&seen).map_err(|what| format!("a reader that goes on: {what}"))?;
            tally.overtaken += usize::from(told);
        }
        let third = self.reader(true)?;
        if third.is_none_or(|reader| reader.lines != seen.lines) {
            return Err(format!("a reader beside its owner does not read {:?}", seen.lines));
        }
        drop(log);
        disk.power_on();
        let log = bench::open(disk, history.durability).ok_or("it does not open again")?;
        let again = Seen::of(&log)?;
        if again == seen { Ok(()) } else { Err(format!("{again:?}, not {seen:?}, after it went on")) }
    }

    /// Who has told readers nothing yet need not have; once something was acknowledged, readers are told.
    fn reader(&self, is_needed: bool) -> Result<Option<Reader>, String> {
        match Reader::begin(&self.disk) {
            Ok(reader) => Ok(Some(reader)),
            Err(_) if !is_needed => Ok(None),
            Err(what) => Err(format!("a reader is not let in: {what}")),
        }
    }
}

fn every_place(history: &History) {
    let whole = bench::disk(0);
    let (log, mut model) = (bench::open(&whole, history.durability).unwrap(), Model::new());
    assert_eq!(play(history, &log, &mut model), history.steps.len());
    model.check(&Seen::of(&log).unwrap(), None).unwrap();
    log.close().unwrap();
    let closed = Seen::of(&bench::open(&whole, history.durability).unwrap()).unwrap();
    model.check(&closed, None).unwrap();
    assert_eq!(closed.end as usize, model.end());

    let mut tally = Tally::default();
    let mut by_loss: BTreeMap<String, usize> = BTreeMap::new();
    for operations in 0..whole.operations() {
        for (seed, loss) in (0..).zip(LOSSES) {
            tally.runs += 1;
            let in_recovery = 5 * seed + operations % 7;
            let cut = Cut { history, disk: bench::disk(seed), loss, operations, in_recovery };
            if let Err(what) = cut.run(&mut tally) {
                *by_loss.entry(format!("{loss:?}")).or_default() += 1;
                tally.failures.push(format!("seed {seed}, {loss:?}, cut after {operations}: {what}"));
            }
        }
    }
    let Tally { runs, early, refused, overtaken, failures } = tally;
    println!(
        "{}: {} cut points, {runs} histories, each cut again in the opening after it; {early} readers before their owner, {refused} of them refused, {overtaken} told to begin again",
        history.name,
        whole.operations()
    );
    assert!(
        failures.is_empty(),
        "{} of {runs} fail, {by_loss:?}: {:#?}",
        failures.len(),
        &failures[..failures.len().min(5)]
    );
    assert!(runs > 1000 && early > runs && overtaken > 0 && refused > 0 && refused < early / 10, "not all was seen");
}

/// Both or neither, at every cut point.
#[test]
fn an_append_and_its_cursors() {
    every_place(&SYNCED);
}

/// Of what is not on the disk the power takes the end, and with each batch its cursors.
#[test]
fn cursors_that_are_not_synced() {
    every_place(&UNSYNCED);
}
