//! DescribeTopicPartitions (75), version 0 (KIP-966).
//!
//! Behavior:
//! - topics in order of name, from the cursor on; no topics named means all
//! - a page ends after the smaller of the request's limit and `max.request.partition.size.limit` partitions, with a
//!   cursor to the next; a topic that is not there, or has its partitions on a later page, is still listed
//! - unknown topic 3, impossible name 17
//! - a cursor to a topic that is not asked for or not there, or to a negative partition: every topic that was asked for
//!   gets INVALID_REQUEST

use std::sync::Arc;

use ottla_protocol::native::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, TopicPage, write_response,
};
use ottla_protocol::wire::{Error, Writer};

use super::metadata::{is_valid_topic_name, view};
use super::{ALL_TOPIC_OPERATIONS, OPERATIONS_OMITTED};
use crate::dispatch::{Pending, RequestInfo};
use crate::error_code::ErrorCode;
use crate::image::Image;
use crate::plane::Plane;

const KEY: i16 = 75;

pub fn answer(plane: &Arc<Plane>, info: &RequestInfo, frame: &[u8]) -> Result<Pending, Error> {
    let mut reader = super::body(frame, info)?;
    let request = DescribeTopicPartitionsRequest::read(&mut reader)?;
    let image = plane.engine.image();
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let limit = asked.clamp(1, plane.limits.described_partitions_max.max(1));
    let (pages, next) = if is_valid_cursor(&image, &request) {
        pages(&image, &request, limit)
    } else {
        (
            request
                .topics
                .iter()
                .map(|name| error_page(name, ErrorCode::INVALID_REQUEST, OPERATIONS_OMITTED))
                .collect(),
            None,
        )
    };
    Ok(Pending::made(info.reply(KEY, 256, |builder| write_response(&mut Writer::new(builder.buffer()), &pages, next))))
}

fn is_valid_cursor(image: &Image, request: &DescribeTopicPartitionsRequest<'_>) -> bool {
    request.cursor.is_none_or(|cursor| {
        let is_asked_for = request.topics.is_empty() || request.topics.contains(&cursor.topic);
        cursor.partition >= 0 && is_asked_for && image.topic(cursor.topic).is_some()
    })
}

fn error_page(name: &str, error: ErrorCode, authorized_operations: i32) -> TopicPage<'_> {
    TopicPage {
        error_code: error.0,
        name,
        topic_id: [0; 16],
        is_internal: false,
        partitions: Vec::new(),
        authorized_operations,
    }
}

fn pages<'a>(
    image: &'a Image,
    request: &DescribeTopicPartitionsRequest<'a>,
    limit: usize,
) -> (Vec<TopicPage<'a>>, Option<Cursor<'a>>) {
    let from = request.cursor.map_or("", |cursor| cursor.topic);
    let names: Box<dyn Iterator<Item = &'a str> + 'a> = if request.topics.is_empty() {
        Box::new(image.by_name.iter_from(from).map(|(name, _)| &**name))
    } else {
        let mut names: Vec<&'a str> = request.topics.iter().copied().filter(|name| *name >= from).collect();
        names.sort_unstable();
        names.dedup();
        Box::new(names.into_iter())
    };
    let mut pages = Vec::new();
    let mut left = limit;
    for name in names {
        let first = request.cursor.filter(|cursor| cursor.topic == name).map_or(0, |cursor| cursor.partition);
        let Some(topic) = image.topic(name) else {
            let error = if is_valid_topic_name(name) {
                ErrorCode::UNKNOWN_TOPIC_OR_PARTITION
            } else {
                ErrorCode::INVALID_TOPIC_EXCEPTION
            };
            pages.push(error_page(name, error, ALL_TOPIC_OPERATIONS));
            continue;
        };
        if left == 0 {
            return (pages, Some(Cursor { topic: name, partition: first }));
        }
        let start = usize::try_from(first).unwrap_or(0).min(topic.partitions.len());
        let end = topic.partitions.len().min(start + left);
        left -= end - start;
        pages.push(TopicPage {
            error_code: 0,
            name,
            topic_id: topic.id,
            is_internal: topic.is_internal,
            partitions: topic.partitions[start..end].iter().map(|partition| view(image, partition)).collect(),
            authorized_operations: ALL_TOPIC_OPERATIONS,
        });
        if end < topic.partitions.len() {
            let partition = i32::try_from(end).unwrap_or(i32::MAX);
            return (pages, Some(Cursor { topic: name, partition }));
        }
    }
    (pages, None)
}
