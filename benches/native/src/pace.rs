//! When each thing of an open loop is due. The time of a thing depends on its number alone: a broker that stalls delays none of them,
//! and what it did to those that came due meanwhile is counted (no coordinated omission).

use crate::Outcome;

const NS_PER_S: u128 = 1_000_000_000;
/// A rate is kept in thousandths: 0.5 per s is a rate too.
const SCALE: f64 = 1000.0;

#[derive(Clone, Copy, Debug)]
pub struct Pace {
    begun_ns: u64,
    per_1000_s: u64,
}

impl Pace {
    pub fn new(begun_ns: u64, per_s: f64) -> Outcome<Pace> {
        let per_1000_s = (per_s * SCALE).round();
        if !(1.0..=1e15).contains(&per_1000_s) {
            return Err(format!("a rate of {per_s} per s"));
        }
        Ok(Pace { begun_ns, per_1000_s: per_1000_s as u64 })
    }

    /// When number `number` is due.
    pub fn due_ns(&self, number: u64) -> u64 {
        let since = u128::from(number) * NS_PER_S * SCALE as u128 / u128::from(self.per_1000_s);
        self.begun_ns.saturating_add(u64::try_from(since).unwrap_or(u64::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The time of a thing is exact however many there were before it: nothing adds up.
    #[test]
    fn nothing_drifts() {
        let pace = Pace::new(7, 3.0).unwrap();
        assert_eq!((pace.due_ns(0), pace.due_ns(1), pace.due_ns(3)), (7, 333_333_340, 1_000_000_007));
        assert_eq!(pace.due_ns(3_000_000), 1_000_000_000_000_007);
        assert_eq!(Pace::new(0, 0.5).unwrap().due_ns(1), 2_000_000_000);
        assert_eq!(Pace::new(5, 20_000.0).unwrap().due_ns(u64::MAX), u64::MAX);
    }

    /// No rate, no pace.
    #[test]
    fn what_is_no_rate() {
        for wrong in [0.0, -1.0, 1e-6, f64::NAN, f64::INFINITY] {
            assert!(Pace::new(0, wrong).is_err(), "{wrong}");
        }
    }
}
