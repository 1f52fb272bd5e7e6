//! Who owns a directory, and what it remembers.

use super::*;
use crate::env::{Env, OpenMode};

fn open(env: &Env, path: &Path, node_id: i32, cluster_id: Option<&str>) -> Result<DataDirectory, StorageError> {
    let mut seed = 0u8;
    let mut random = move || {
        seed += 1;
        [seed; 16]
    };
    DataDirectory::open(&Host::new(env.clone(), 0), path, node_id, cluster_id, &mut random)
}

fn in_use(result: Result<DataDirectory, StorageError>) -> String {
    match result {
        Err(error @ StorageError::DirectoryInUse { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

/// A second opener in the same process is kept out and told who holds the directory; on disk and in memory.
#[test]
fn one_owner() {
    let directory = tempfile::tempdir().unwrap();
    for env in [Env::system(), Env::memory()] {
        let first = open(&env, directory.path(), 1, None).unwrap();
        let message = in_use(open(&env, directory.path(), 1, None));
        assert!(message.contains(&format!("pid={}", std::process::id())), "{message}");
        drop(first);
        open(&env, directory.path(), 1, None).unwrap();
    }
}

/// Ids are made once and found again; another cluster's or node's directory is refused.
#[test]
fn identity() {
    let env = Env::scratch();
    let path = Path::new("/d");
    let (cluster_id, directory_id) = {
        let first = open(&env, path, 1, None).unwrap();
        (first.cluster_id().to_owned(), first.directory_id())
    };
    let again = open(&env, path, 1, Some(&cluster_id)).unwrap();
    assert_eq!((again.cluster_id(), again.directory_id(), again.node_id()), (cluster_id.as_str(), directory_id, 1));
    drop(again);
    assert!(open(&env, path, 1, Some("other")).unwrap_err().to_string().contains("belongs to cluster"));
    assert!(open(&env, path, 2, None).unwrap_err().to_string().contains("belongs to node 1"));
}

/// A directory of a newer format is refused with a sentence; an older one (no ottla.format, or Kafka's own) opens.
#[test]
fn format_versions() {
    let env = Env::scratch();
    let path = Path::new("/d");
    env.disk().create_dir_all(path).unwrap();
    let write = |text: &str| replace_file(env.disk().as_ref(), &path.join(META_PROPERTIES), text.as_bytes()).unwrap();
    write(
        "#\n#Sat Nov 21 07:00:00 UTC 2026\nnode.id=1\ndirectory.id=hoJrcJ3tRaKWGbiPBl8obw\nversion=1\ncluster.id=4L6g3nShT-eMCtK--X86sw\n",
    );
    assert_eq!(open(&env, path, 1, None).unwrap().cluster_id(), "4L6g3nShT-eMCtK--X86sw");
    write("version=0\nbroker.id=1\ncluster.id=abc\n");
    assert_eq!(open(&env, path, 1, None).unwrap().cluster_id(), "abc");
    write("version=1\nnode.id=1\ncluster.id=abc\nottla.format=2\n");
    let error = open(&env, path, 1, None).unwrap_err();
    assert!(matches!(error, StorageError::NewerFormat { known: 1, .. }), "{error}");
}

/// Cut at any byte it is refused, or says all that it said: never is the directory taken for another cluster's or node's.
#[test]
fn properties_cut_anywhere() {
    let env = Env::scratch();
    let path = Path::new("/d");
    drop(open(&env, path, 1, Some("a-cluster")).unwrap());
    let file = path.join(META_PROPERTIES);
    let whole = read_file(env.disk().as_ref(), &file, OWNER_BYTES_MAX).unwrap();
    for length in 0..whole.len() {
        replace_file(env.disk().as_ref(), &file, &whole[..length]).unwrap();
        let error = open(&env, path, 1, None).unwrap_err();
        assert!(matches!(error, StorageError::Invalid { .. }), "{length} bytes: {error}");
        let kept = read_file(env.disk().as_ref(), &file, OWNER_BYTES_MAX).unwrap();
        assert_eq!(kept, whole[..length], "nothing is written over what is damaged");
    }
    replace_file(env.disk().as_ref(), &file, &whole).unwrap();
    assert_eq!(open(&env, path, 1, None).unwrap().cluster_id(), "a-cluster");
}

/// The mark of a clean stop is there after `close` only, and is used up by the next start.
#[test]
fn clean_stop() {
    let env = Env::scratch();
    let path = Path::new("/d");
    assert!(!open(&env, path, 1, None).unwrap().was_clean());
    open(&env, path, 1, None).unwrap().close(&[]).unwrap();
    assert!(open(&env, path, 1, None).unwrap().was_clean());
    assert!(!open(&env, path, 1, None).unwrap().was_clean());
}

/// What a deletion left half done goes at the next start.
#[test]
fn deleted_directories_go() {
    let env = Env::scratch();
    let path = Path::new("/d");
    drop(open(&env, path, 1, None).unwrap());
    let stale = path.join("t-0.0123-delete");
    env.disk().create_dir_all(&stale).unwrap();
    env.disk().open(&stale.join("x"), OpenMode::Create).unwrap();
    let directory = open(&env, path, 1, None).unwrap();
    assert!(!env.disk().exists(&stale).unwrap());
    assert!(directory.found().unwrap().is_empty());
}
