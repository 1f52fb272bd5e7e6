//! A request over many partitions, taken one after the other, and what it does where the disk must be waited for.
//!
//! It begins on the network's thread, where nothing waits. At a partition that needs the disk (not opened yet, its index or the begin of the
//! records not in memory) the walk as a whole moves to a thread of the [`Readers`], takes a few steps there, and comes back. For one that
//! somebody else holds, who makes a segment say, it waits on no thread.

use std::sync::Arc;

use crate::crew;
use crate::engine::Engine;
use crate::image::Image;
use crate::readers::Readers;
use crate::replica::{Patience, Replica};

/// So many steps at most are waited for by one piece of work.
const WAITS_MAX: usize = 16;
/// So many partitions at most are opened ahead, side by side, where one has to be.
const OPENED_AHEAD_MAX: usize = 256;

/// The disk must be waited for.
pub struct WouldWait;

/// What a walk cannot go on without.
pub enum Needs {
    /// These threads, which may wait for the disk.
    Readers(Arc<Readers>),
    /// That somebody else lets the partition go.
    Release(Arc<Replica>),
}

pub trait Walk: Send + Sized + 'static {
    /// Takes the next step. False: there is none left. One that would have to wait has not been taken.
    ///
    /// # Errors
    /// The disk must be waited for.
    fn step(&mut self, image: &Image, patience: Patience) -> Result<bool, WouldWait>;

    /// The partitions of the steps that are left, in order, as far as they exist.
    fn left<'i>(&self, image: &'i Image) -> impl Iterator<Item = &'i Arc<Replica>>;
}

impl Replica {
    /// # Errors
    /// Whoever asks it for anything would have to wait: somebody holds it who does, or nobody has opened it yet.
    pub(crate) fn at_once(&self, patience: Patience) -> Result<(), WouldWait> {
        let would_wait = self.held_up().is_now() || (patience == Patience::None && self.must_be_opened());
        if would_wait { Err(WouldWait) } else { Ok(()) }
    }
}

/// Goes on without waiting for the disk. `Some`: the walk came to a partition that needs this.
pub fn go_on<W: Walk>(walk: &mut W, image: &Image) -> Option<Needs> {
    loop {
        match walk.step(image, Patience::None) {
            Ok(true) => {}
            Ok(false) => return None,
            Err(WouldWait) => {
                let replica = walk.left(image).next()?;
                return Some(if replica.held_up().is_now() {
                    Needs::Release(Arc::clone(replica))
                } else {
                    Needs::Readers(Arc::clone(replica.readers()))
                });
            }
        }
    }
}

/// The same to the end, with the disk. `None`: the engine is being closed.
pub async fn finish<W: Walk>(mut walk: W, engine: &Arc<Engine>) -> Option<W> {
    while let Some(needed) = go_on(&mut walk, &engine.image()) {
        let readers = match needed {
            Needs::Readers(readers) => readers,
            Needs::Release(replica) => {
                replica.held_up().until_over().await;
                continue;
            }
        };
        readers.lookups.add_one();
        let (engine, own) = (Arc::clone(engine), Arc::clone(&readers));
        walk = readers
            .run(move || {
                let image = engine.image();
                open_ahead(&walk, &image, &own);
                wait_for_some(&mut walk, &image, &own);
                walk
            })
            .await?;
    }
    Some(walk)
}

/// After a start nobody has used any yet.
fn open_ahead<W: Walk>(walk: &W, image: &Image, readers: &Arc<Readers>) {
    let next = walk.left(image).take(OPENED_AHEAD_MAX);
    crew::open_all(next.filter(|replica| Arc::ptr_eq(replica.readers(), readers)));
}

/// Goes on where waiting is allowed, as long as the disk is that of `readers`.
fn wait_for_some<W: Walk>(walk: &mut W, image: &Image, readers: &Arc<Readers>) {
    for _ in 0..WAITS_MAX {
        if !walk.step(image, Patience::Any).is_ok_and(|took_one| took_one) {
            return;
        }
        match go_on(walk, image) {
            Some(Needs::Readers(next)) if Arc::ptr_eq(&next, readers) => {}
            _ => return,
        }
    }
}
