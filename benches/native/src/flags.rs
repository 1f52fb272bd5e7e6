//! `--name value` and `--switch`.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::Outcome;

const SWITCHES: [&str; 9] =
    ["idempotent", "to-end", "again", "read-committed", "check", "latency", "ready", "hold", "sync"];

/// What was given; each is taken once, and what is left over at the end is a mistake.
#[derive(Debug)]
pub struct Flags {
    given: BTreeMap<String, String>,
}

impl Flags {
    pub fn read(words: Vec<String>) -> Outcome<Flags> {
        let mut given = BTreeMap::new();
        let mut words = words.into_iter();
        while let Some(word) = words.next() {
            let name = word.strip_prefix("--").ok_or_else(|| format!("{word} is no flag"))?;
            let value = if SWITCHES.contains(&name) {
                String::new()
            } else {
                words.next().ok_or_else(|| format!("--{name} wants a value"))?
            };
            if given.insert(name.to_owned(), value).is_some() {
                return Err(format!("--{name} is given twice"));
            }
        }
        Ok(Flags { given })
    }

    pub fn on(&mut self, name: &str) -> bool {
        self.given.remove(name).is_some()
    }

    pub fn text(&mut self, name: &str) -> Option<String> {
        self.given.remove(name)
    }

    pub fn needed(&mut self, name: &str) -> Outcome<String> {
        self.text(name).ok_or_else(|| format!("--{name} is needed"))
    }

    pub fn maybe<N: FromStr>(&mut self, name: &str) -> Outcome<Option<N>> {
        self.text(name).map(|text| text.parse().map_err(|_| format!("--{name} cannot be {text}"))).transpose()
    }

    pub fn number<N: FromStr>(&mut self, name: &str, usual: N) -> Outcome<N> {
        Ok(self.maybe(name)?.unwrap_or(usual))
    }

    /// A count of what there must be one of at least.
    pub fn count(&mut self, name: &str, usual: usize) -> Outcome<usize> {
        let count = self.number(name, usual)?;
        if count == 0 { Err(format!("--{name} cannot be 0")) } else { Ok(count) }
    }

    /// A length of time, in ns; not negative, and bounded so that no sum of two overflows.
    pub fn seconds_ns(&mut self, name: &str, usual: f64) -> Outcome<u64> {
        let seconds: f64 = self.number(name, usual)?;
        if (0.0..=1e6).contains(&seconds) {
            Ok((seconds * 1e9) as u64)
        } else {
            Err(format!("--{name} cannot be {seconds}"))
        }
    }

    pub fn finish(self) -> Outcome<()> {
        match self.given.keys().next() {
            None => Ok(()),
            Some(name) => Err(format!("--{name} means nothing here")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(words: &str) -> Outcome<Flags> {
        Flags::read(words.split_whitespace().map(str::to_owned).collect())
    }

    /// Values, switches, and what was not given.
    #[test]
    fn flags_are_taken_by_name() {
        let mut flags = read("--rate 20.5 --check --topics a,b").unwrap();
        assert_eq!(flags.maybe::<f64>("rate").unwrap(), Some(20.5));
        assert!(flags.on("check") && !flags.on("again"));
        assert_eq!(flags.needed("topics").unwrap(), "a,b");
        assert_eq!(flags.count("connections", 3).unwrap(), 3);
        flags.finish().unwrap();
    }

    /// Every mistake is told, none is passed over.
    #[test]
    fn mistakes_are_told() {
        assert!(read("topic").is_err() && read("--topic").is_err() && read("--a 1 --a 2").is_err());
        assert_eq!(read("--rat 5").unwrap().finish().unwrap_err(), "--rat means nothing here");
        assert!(read("--n x").unwrap().count("n", 1).is_err() && read("--n 0").unwrap().count("n", 1).is_err());
        for wrong in ["-1", "nan", "inf", "1e7"] {
            assert!(read(&format!("--seconds {wrong}")).unwrap().seconds_ns("seconds", 1.0).is_err(), "{wrong}");
        }
        assert_eq!(read("").unwrap().seconds_ns("seconds", 0.5).unwrap(), 500_000_000);
    }
}
