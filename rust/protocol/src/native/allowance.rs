//! What the lists of a request may cost.
//!
//! A list is taken element by element, and each one is paid for before it is read: with what it takes here, and what
//! whoever serves the request makes of it. Weights are such that no request of a client with something to say comes near
//! 32 times its frame; what is stuffed with empty names and null records does, and is refused.

use crate::codec::Budget;
use crate::wire::{ErrorKind, Reader, Result};

/// Elements for which room is made ahead of their bytes.
const AHEAD_MAX: usize = 1024;

/// The smallest sizes on the wire, by dialect.
pub(super) const fn name_bytes_min(flexible: bool) -> usize {
    if flexible { 1 } else { 2 }
}

pub(super) const fn list_bytes_min(flexible: bool) -> usize {
    if flexible { 1 } else { 4 }
}

pub(super) const fn tags_bytes_min(flexible: bool) -> usize {
    if flexible { 1 } else { 0 }
}

/// One kind of element.
#[derive(Clone, Copy)]
pub(super) struct Element {
    pub name: &'static str,
    /// The smallest it can be on the wire, in this version.
    pub bytes_min: usize,
    /// What it takes in memory, from being read to being answered.
    pub weight: usize,
}

pub(super) struct Allowance {
    flexible: bool,
    budget: Budget,
}

impl Allowance {
    /// For the body at which `reader` stands.
    pub fn of(reader: &Reader<'_>, flexible: bool) -> Self {
        Self { flexible, budget: Budget::for_frame(reader.remaining()) }
    }

    /// A list, or null.
    pub fn nullable_list<'a, T>(
        &mut self,
        reader: &mut Reader<'a>,
        element: Element,
        mut read: impl FnMut(&mut Self, &mut Reader<'a>) -> Result<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some(count) = reader.nullable_array(self.flexible, element.bytes_min, element.name)? else {
            return Ok(None);
        };
        // A list grows by doubling, and is there twice while it does.
        debug_assert!(element.weight >= 3 * size_of::<T>(), "{} weighs too little", element.name);
        if !self.budget.take(count.saturating_mul(element.weight)) {
            return Err(reader.error(element.name, ErrorKind::TooMuchMemory));
        }
        let mut elements = Vec::with_capacity(count.min(AHEAD_MAX));
        for _ in 0..count {
            elements.push(read(self, reader)?);
        }
        Ok(Some(elements))
    }

    /// A list.
    pub fn list<'a, T>(
        &mut self,
        reader: &mut Reader<'a>,
        element: Element,
        read: impl FnMut(&mut Self, &mut Reader<'a>) -> Result<T>,
    ) -> Result<Vec<T>> {
        let before = reader.clone();
        let list = self.nullable_list(reader, element, read)?;
        list.ok_or_else(|| before.error(element.name, ErrorKind::UnexpectedNull))
    }
}
