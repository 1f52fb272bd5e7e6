//! Questions about partitions that name them by topic, and their answers in the same order.

use std::sync::Arc;

use crate::dispatch::{Pending, RequestInfo};
use crate::image::{Image, PartitionState};
use crate::plane::Plane;
use crate::replica::{Patience, Replica};
use crate::reply::Reply;
use crate::walk::{self, Walk, WouldWait};

pub trait Question: Send + 'static {
    type Answer: Send;

    fn partition(&self) -> i32;

    /// `partition`: the one that is asked about, if it exists.
    ///
    /// # Errors
    /// The disk must be waited for.
    fn answer(&self, partition: Option<&PartitionState>, patience: Patience) -> Result<Self::Answer, WouldWait>;
}

/// Those of one request.
pub struct Asked<Q: Question> {
    topics: Vec<String>,
    /// Each with the place of its topic.
    questions: Vec<(usize, Q)>,
    /// Of the first questions, as far as it has come.
    answers: Vec<Q::Answer>,
}

impl<Q: Question> Asked<Q> {
    pub fn new(topics: Vec<(&str, Vec<Q>)>) -> Self {
        let mut asked = Self { topics: Vec::with_capacity(topics.len()), questions: Vec::new(), answers: Vec::new() };
        for (place, (name, questions)) in topics.into_iter().enumerate() {
            asked.topics.push(name.to_owned());
            asked.questions.extend(questions.into_iter().map(|question| (place, question)));
        }
        asked
    }

    /// Answers all, and makes of it what the client gets.
    pub fn answer(
        mut self,
        plane: &Arc<Plane>,
        info: &RequestInfo,
        respond: impl FnOnce(&RequestInfo, &[(&str, Vec<Q::Answer>)]) -> Result<Option<Reply>, String> + Send + 'static,
    ) -> Pending {
        if walk::go_on(&mut self, &plane.engine.image()).is_none() {
            return Pending::made(self.respond(info, respond));
        }
        let (engine, info) = (Arc::clone(&plane.engine), info.clone());
        Pending::later(async move {
            let asked = walk::finish(self, &engine).await.ok_or("the data directories are being closed")?;
            asked.respond(&info, respond)
        })
    }

    fn respond(
        self,
        info: &RequestInfo,
        respond: impl FnOnce(&RequestInfo, &[(&str, Vec<Q::Answer>)]) -> Result<Option<Reply>, String>,
    ) -> Result<Option<Reply>, String> {
        let mut answers: Vec<(&str, Vec<Q::Answer>)> = self.topics.iter().map(|name| (&**name, Vec::new())).collect();
        for ((topic, _), answer) in self.questions.iter().zip(self.answers) {
            answers[*topic].1.push(answer);
        }
        respond(info, &answers)
    }

    fn find<'i>(&self, image: &'i Image, place: usize) -> Option<&'i PartitionState> {
        let (topic, question) = self.questions.get(place)?;
        image.topic(&self.topics[*topic])?.partition(question.partition())
    }
}

impl<Q: Question> Walk for Asked<Q> {
    fn step(&mut self, image: &Image, patience: Patience) -> Result<bool, WouldWait> {
        let place = self.answers.len();
        let Some((_, question)) = self.questions.get(place) else { return Ok(false) };
        let answer = question.answer(self.find(image, place), patience)?;
        self.answers.push(answer);
        Ok(true)
    }

    fn left<'i>(&self, image: &'i Image) -> impl Iterator<Item = &'i Arc<Replica>> {
        let left = self.answers.len()..self.questions.len();
        left.filter_map(|place| self.find(image, place)).map(|partition| &partition.replica)
    }
}
