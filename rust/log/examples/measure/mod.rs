//! What the programs that measure the engine share: their arguments, processor time, and how figures are told.
//!
//! Each program works in rounds and takes the machine's limit in the same rounds, first and last by turns. A round is a list of named
//! figures, the unit last in the name. They are printed as a table, or with `--json` as one object that `python -m benches` reads.

#![allow(dead_code, reason = "no program uses all of it")]

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use ottla_log::env::Disk;

pub type Outcome<T> = Result<T, Box<dyn Error>>;
pub type Figures = Vec<(&'static str, f64)>;

/// Of the values of records.
pub const RECORD_BYTES: usize = 1024;
pub const MIB: f64 = (1u64 << 20) as f64;
pub const GIB: f64 = (1u64 << 30) as f64;

/// What the command line says: places in order, and `--json`.
pub struct Arguments {
    places: std::vec::IntoIter<String>,
    pub json: bool,
    usage: &'static str,
}

impl Arguments {
    pub fn read(usage: &'static str) -> Arguments {
        let (flags, places): (Vec<String>, Vec<String>) = std::env::args().skip(1).partition(|word| word == "--json");
        Arguments { places: places.into_iter(), json: !flags.is_empty(), usage }
    }

    /// An empty directory of this process in the one that is named next, on the disk that is to be measured.
    pub fn directory(&mut self, disk: &Arc<dyn Disk>) -> Outcome<Scratch> {
        let parent = self.places.next().ok_or(self.usage)?;
        let path = Path::new(&parent).join(format!("ottla-speed-{}", std::process::id()));
        disk.create_dir_all(&path)?;
        Ok(Scratch { disk: disk.clone(), path })
    }

    pub fn number(&mut self, default: usize) -> Outcome<usize> {
        Ok(self.places.next().map_or(Ok(default), |text| text.parse()).map_err(|_| self.usage)?)
    }
}

/// A directory that goes with the value.
pub struct Scratch {
    disk: Arc<dyn Disk>,
    path: PathBuf,
}

impl Scratch {
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if let Err(error) = self.disk.remove_dir_all(&self.path) {
            eprintln!("{} is left: {error}", self.path.display());
        }
    }
}

/// Processor time of this thread.
pub fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// Processor time that `work` takes of this thread.
pub fn cpu_of(work: impl FnOnce() -> Outcome<()>) -> Outcome<f64> {
    let begun = cpu_seconds();
    work()?;
    Ok(cpu_seconds() - begun)
}

/// A then B in even rounds, B then A in odd ones.
pub fn by_turns<T>(
    round: usize,
    first: impl FnOnce() -> Outcome<T>,
    second: impl FnOnce() -> Outcome<T>,
) -> Outcome<(T, T)> {
    if round.is_multiple_of(2) {
        let first = first()?;
        Ok((first, second()?))
    } else {
        let second = second()?;
        Ok((first()?, second))
    }
}

/// Numbers that look random and are the same each time.
pub struct Random(u64);

impl Random {
    pub fn new() -> Random {
        Random(1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }
}

/// Tables of figures by name.
#[derive(Default)]
pub struct Report {
    about: Figures,
    tables: Vec<(&'static str, Vec<Figures>)>,
}

impl Report {
    /// `about` says what was measured: sizes and counts.
    pub fn new(about: Figures) -> Report {
        Report { about, tables: Vec::new() }
    }

    pub fn add(&mut self, table: &'static str, figures: Figures) {
        match self.tables.iter_mut().find(|(name, _)| *name == table) {
            Some((_, rounds)) => rounds.push(figures),
            None => self.tables.push((table, vec![figures])),
        }
    }

    pub fn print(&self, json: bool) {
        if json {
            let tables = self.tables.iter().map(|(name, rounds)| {
                format!(",\"{name}\":[{}]", rounds.iter().map(object).collect::<Vec<_>>().join(","))
            });
            println!("{{\"about\":{}{}}}", object(&self.about), tables.collect::<String>());
            return;
        }
        let about: Vec<String> = self.about.iter().map(|(name, value)| format!("{name} {}", short(*value))).collect();
        println!("{}", about.join(", "));
        for (table, rounds) in &self.tables {
            println!("\n{table}");
            let heads: Vec<&str> = rounds.first().into_iter().flatten().map(|(name, _)| *name).collect();
            println!("{}", heads.join("  "));
            for round in rounds {
                let cells = round.iter().map(|(name, value)| format!("{:>1$}", short(*value), name.len()));
                println!("{}", cells.collect::<Vec<_>>().join("  "));
            }
        }
    }
}

fn object(figures: &Figures) -> String {
    let fields: Vec<String> = figures.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", fields.join(","))
}

fn short(value: f64) -> String {
    if value == value.trunc() {
        format!("{value:.0}")
    } else if value.abs() < 100.0 {
        format!("{value:.3}")
    } else {
        format!("{value:.1}")
    }
}
