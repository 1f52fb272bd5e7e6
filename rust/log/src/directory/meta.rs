//! `meta.properties`: whose a data directory is, and the version of what lies in it.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use crate::TopicId;
use crate::checkpoint;
use crate::env::{Disk, read_file, replace_file};
use crate::error::{IoContext, StorageError};

pub const META_PROPERTIES: &str = "meta.properties";
/// The version of Kafka's properties we write; 0 (from ZooKeeper's days) is read.
const KAFKA_VERSION: i32 = 1;
/// Ours: what lies beside Kafka's files, or in them where Kafka leaves it open.
pub const FORMAT_VERSION: i32 = 1;
/// The ids of all data directories of a broker that has several.
pub(super) const TOGETHER: &str = "ottla.log.dirs";
const META_BYTES_MAX: u64 = 64 * 1024;

#[derive(Clone, Debug)]
pub(super) struct Meta {
    pub(super) cluster_id: String,
    pub(super) node_id: i32,
    pub(super) directory_id: TopicId,
    /// Ids of all directories its owner had, this one among them; empty where there was no other.
    pub(super) together: Vec<TopicId>,
}

/// An id Kafka accepts for a directory: its first hundred are reserved (`DirectoryId`), and it must not begin with a dash.
pub(super) fn new_id(random: &mut dyn FnMut() -> [u8; 16]) -> TopicId {
    let mut id = random();
    // Version 4, variant 1, as `Uuid.randomUuid`.
    id[6] = (id[6] & 0x0f) | 0x40;
    id[8] = (id[8] & 0x3f) | 0x80;
    // The first character of the text form is the top six bits; 62 is the dash.
    if id[0] >> 2 == 62 {
        id[0] = 0;
    }
    id
}

pub(crate) fn read_meta(disk: &dyn Disk, path: &Path) -> Result<Option<BTreeMap<String, String>>, StorageError> {
    let path = path.join(META_PROPERTIES);
    let bytes = match read_file(disk, &path, META_BYTES_MAX) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StorageError::io("read", &path, error)),
    };
    let text = String::from_utf8(bytes).map_err(|_| StorageError::invalid(&path, "is not text"))?;
    // Both Kafka and we end the last line. One that is not whole would be taken for another cluster's name.
    if !text.ends_with('\n') {
        return Err(StorageError::invalid(&path, "ends in the middle of a line"));
    }
    let properties: BTreeMap<String, String> = text
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with(['#', '!']))
        .filter_map(|line| line.split_once('='))
        // Java escapes some characters of a value with a backslash.
        .map(|(key, value)| (key.trim().to_owned(), value.trim().replace('\\', "")))
        .collect();
    if !properties.contains_key("version") {
        return Err(StorageError::invalid(&path, "names no version"));
    }
    Ok(Some(properties))
}

/// Whether this program knows what lies in a data directory, for who only looks: it must not be taken for damage.
///
/// # Errors
/// `NewerFormat`: it does not.
pub fn check_format(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    match read_meta(disk, path)? {
        Some(properties) => check_versions(&path.join(META_PROPERTIES), &properties),
        None => Ok(()),
    }
}

fn check_versions(file: &Path, properties: &BTreeMap<String, String>) -> Result<(), StorageError> {
    for (name, known) in [("version", KAFKA_VERSION), ("ottla.format", FORMAT_VERSION)] {
        let Some(text) = properties.get(name) else { continue };
        let found: i32 =
            text.parse().map_err(|_| StorageError::invalid(file, format!("{name}={text} is no number")))?;
        if found > known {
            let (path, found) = (file.to_path_buf(), format!("{name}={found}"));
            return Err(StorageError::NewerFormat { path, found, known });
        }
    }
    Ok(())
}

pub(super) fn check_meta(
    disk: &dyn Disk,
    path: &Path,
    properties: BTreeMap<String, String>,
    node_id: i32,
    cluster_id: Option<&str>,
    random: &mut dyn FnMut() -> [u8; 16],
) -> Result<Meta, StorageError> {
    let file = path.join(META_PROPERTIES);
    check_versions(&file, &properties)?;
    let stored_node = properties.get("node.id").or_else(|| properties.get("broker.id"));
    match stored_node.map(|text| text.parse::<i32>()) {
        Some(Ok(stored)) if stored != node_id => {
            return Err(StorageError::invalid(&file, format!("belongs to node {stored}, not to node {node_id}")));
        }
        Some(Err(_)) => return Err(StorageError::invalid(&file, "node.id is no number")),
        _ => {}
    }
    let stored_cluster = properties.get("cluster.id");
    if let (Some(stored), Some(asked)) = (stored_cluster, cluster_id)
        && stored != asked
    {
        return Err(StorageError::invalid(&file, format!("belongs to cluster {stored}, not to cluster {asked}")));
    }
    let directory_id = properties.get("directory.id").and_then(|id| checkpoint::parse_id(id));
    let complete = stored_cluster.is_some() && directory_id.is_some() && properties.contains_key("ottla.format");
    let cluster_id = match (stored_cluster, cluster_id) {
        (Some(stored), _) => stored.clone(),
        (None, Some(asked)) => asked.to_owned(),
        (None, None) => checkpoint::format_id(&random()),
    };
    let together = match properties.get(TOGETHER).map(|ids| ids.split(',').map(checkpoint::parse_id).collect()) {
        None => Vec::new(),
        Some(Some(ids)) => ids,
        Some(None) => return Err(StorageError::invalid(&file, format!("{TOGETHER} is no list of ids"))),
    };
    let meta = Meta { cluster_id, node_id, directory_id: directory_id.unwrap_or_else(|| new_id(random)), together };
    if !complete {
        write_meta(disk, path, &meta)?;
    }
    Ok(meta)
}

pub(super) fn write_meta(disk: &dyn Disk, path: &Path, meta: &Meta) -> Result<(), StorageError> {
    let ids: Vec<String> = meta.together.iter().map(checkpoint::format_id).collect();
    let together = if ids.is_empty() { String::new() } else { format!("{TOGETHER}={}\n", ids.join(",")) };
    let text = format!(
        "#\ncluster.id={}\ndirectory.id={}\nnode.id={}\nottla.format={FORMAT_VERSION}\n{together}version={KAFKA_VERSION}\n",
        meta.cluster_id,
        checkpoint::format_id(&meta.directory_id),
        meta.node_id
    );
    let path = path.join(META_PROPERTIES);
    replace_file(disk, &path, text.as_bytes()).at("write", &path)
}
