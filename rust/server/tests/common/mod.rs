//! A whole data plane over the in-memory disk and a virtual clock, and a client that speaks raw bytes to it.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub mod gated_disk;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use ottla_log::batch::NewRecord;
use ottla_log::batch::builder::{BatchShape, build};
use ottla_log::cleaner::CleanerConfig;
use ottla_log::commit::HostSettings;
use ottla_log::env::{Clock, Disk, Env, SystemClock, VirtualClock};
use ottla_log::maintenance::MaintenanceConfig;
use ottla_log::{Durability, PartitionConfig};
use ottla_protocol::header::write_request_header;
use ottla_protocol::native::api_versions::Features;
use ottla_protocol::wire::{Reader, Writer};
use ottla_server::control::{ControlPlane, ControlRequest, TransactionQuestion};
use ottla_server::dispatch::ApiRow;
use ottla_server::engine::{Engine, EngineOptions};
use ottla_server::image::{Broker, PartitionUpdate, TopicUpdate, Update};
use ottla_server::limits::Limits;
use ottla_server::listener::{Endpoint, Server};
use ottla_server::plane::Plane;
use ottla_server::room::Ticket;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Nothing in a test takes this long; a test that does is broken, and says where.
pub const PATIENCE: Duration = Duration::from_secs(30);
pub const TOPIC_ID: [u8; 16] = [7; 16];
pub const HEARTBEAT: i16 = 12;
pub const API_VERSIONS: i16 = 18;

/// Returns once it does.
pub fn await_that(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds() {
        assert!(begun.elapsed() < PATIENCE, "never happened: {what}");
        std::thread::yield_now();
    }
}

pub fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap()
}

pub fn ask_versions(client: &mut Client) {
    client.ask(API_VERSIONS, 0, |_| {});
}

/// Says a few things on a connection, so that the broker has had time to do something else that it should not do.
pub fn talk(client: &mut Client) {
    (0..50).for_each(|_| ask_versions(client));
}

/// A control plane that keeps what it is asked until the test answers.
#[derive(Default)]
pub struct Questions {
    kept: Mutex<Kept>,
    arrived: Condvar,
    /// While a test holds this, who asks stays in `serve`, with the connection's task.
    pub gate: Mutex<()>,
}

/// Names to create, and where their error codes go.
type Creation = (Vec<String>, oneshot::Sender<Vec<(String, i16)>>);

#[derive(Default)]
struct Kept {
    requests: Vec<ControlRequest>,
    transactions: Vec<TransactionQuestion>,
    topics: Vec<Creation>,
    gone: Vec<u64>,
}

impl Questions {
    fn keep(&self, put: impl FnOnce(&mut Kept)) {
        put(&mut self.kept.lock());
        self.arrived.notify_all();
    }

    fn take<T>(&self, what: &str, mut get: impl FnMut(&mut Kept) -> Option<T>) -> T {
        let mut kept = self.kept.lock();
        loop {
            if let Some(found) = get(&mut kept) {
                return found;
            }
            let late = self.arrived.wait_for(&mut kept, PATIENCE).timed_out();
            assert!(!late, "no {what} came");
        }
    }

    /// How many requests and topic creations nobody has picked up.
    pub fn waiting(&self) -> usize {
        let kept = self.kept.lock();
        kept.requests.len() + kept.topics.len()
    }

    pub fn request(&self) -> ControlRequest {
        self.take("request", |kept| kept.requests.pop())
    }

    pub fn transaction(&self) -> TransactionQuestion {
        self.take("transaction question", |kept| kept.transactions.pop())
    }

    pub fn topics(&self) -> Creation {
        self.take("topic creation", |kept| kept.topics.pop())
    }

    pub fn disconnection(&self) -> u64 {
        self.take("disconnection", |kept| kept.gone.pop())
    }
}

impl ControlPlane for Questions {
    fn serve(&self, request: ControlRequest) {
        self.keep(|kept| kept.requests.push(request));
        drop(self.gate.lock());
    }

    fn create_topics(&self, names: Vec<String>, _ticket: Ticket, reply: oneshot::Sender<Vec<(String, i16)>>) {
        self.keep(|kept| kept.topics.push((names, reply)));
    }

    fn verify_transaction(&self, question: TransactionQuestion) {
        self.keep(|kept| kept.transactions.push(question));
    }

    fn disconnected(&self, connection_id: u64) {
        self.keep(|kept| kept.gone.push(connection_id));
    }
}

pub struct Harness {
    pub clock: Arc<VirtualClock>,
    pub engine: Arc<Engine>,
    pub questions: Arc<Questions>,
    pub plane: Arc<Plane>,
    pub server: Server,
    pub address: SocketAddr,
}

pub fn topic(name: &str, id: [u8; 16], partitions: i32, config: PartitionConfig) -> TopicUpdate {
    TopicUpdate {
        name: name.to_owned(),
        id,
        is_internal: false,
        config,
        min_insync_replicas: 1,
        partitions: (0..partitions)
            .map(|index| PartitionUpdate {
                index,
                leader: 1,
                leader_epoch: 0,
                partition_epoch: 0,
                replicas: vec![1],
                isr: vec![1],
            })
            .collect(),
    }
}

impl Harness {
    /// A broker with topic `t` of two partitions, durability `os`.
    pub fn start() -> Self {
        Self::with(Limits::default())
    }

    pub fn with(limits: Limits) -> Self {
        Self::over(Env::memory(), Durability::Os, limits)
    }

    /// The same with durability `fsync`, over a disk whose syncs the test holds and lets go.
    pub fn with_fsync(disk: gated_disk::GatedDisk) -> Self {
        Self::with_fsync_and(disk, HostSettings::default())
    }

    pub fn with_fsync_and(disk: gated_disk::GatedDisk, host: HostSettings) -> Self {
        let env = Env::new(Arc::new(disk), Arc::new(SystemClock::new()));
        Self::over_with(env, Durability::Fsync, Limits::default(), host)
    }

    /// The same with several data directories.
    pub fn with_directories(disk: gated_disk::GatedDisk, directories: &[&str]) -> Self {
        let env = Env::new(Arc::new(disk), Arc::new(SystemClock::new()));
        Self::over_all(env, directories, Durability::Fsync, Limits::default(), HostSettings::default())
    }

    /// Durability `os`, over that disk.
    pub fn over_disk(disk: Arc<dyn Disk>, limits: Limits) -> Self {
        Self::over(Env::new(disk, Arc::new(SystemClock::new())), Durability::Os, limits)
    }

    fn over(env: Env, durability: Durability, limits: Limits) -> Self {
        Self::over_with(env, durability, limits, HostSettings::default())
    }

    fn over_with(env: Env, durability: Durability, limits: Limits, host: HostSettings) -> Self {
        Self::over_all(env, &["/data"], durability, limits, host)
    }

    fn over_all(env: Env, directories: &[&str], durability: Durability, limits: Limits, host: HostSettings) -> Self {
        let clock = Arc::new(VirtualClock::new(1_700_000_000_000));
        let engine = Arc::new(
            Engine::open(EngineOptions {
                env: env.with_clock(Arc::clone(&clock) as Arc<dyn Clock>),
                data_dirs: directories.iter().map(PathBuf::from).collect(),
                node_id: 1,
                cluster_id: Some("test-cluster".to_owned()),
                host: HostSettings { commit_threads: 1, ..host },
                maintenance: MaintenanceConfig::default(),
                cleaner: CleanerConfig::default(),
            })
            .unwrap(),
        );
        let config = PartitionConfig { durability, ..PartitionConfig::default() };
        let questions = Arc::new(Questions::default());
        let table: Vec<ApiRow> = [(0, 0, 3, 13), (1, 4, 4, 18), (2, 1, 1, 11), (3, 0, 0, 13), (HEARTBEAT, 0, 0, 4)]
            .into_iter()
            .chain([(18, 0, 0, 4), (23, 2, 2, 4), (75, 0, 0, 0)])
            .map(|(key, min_advertised, min_served, max)| ApiRow { key, min_advertised, min_served, max })
            .collect();
        let control = Arc::clone(&questions) as Arc<dyn ControlPlane>;
        let plane = Arc::new(Plane::new(Arc::clone(&engine), control, &table, limits).unwrap());
        let endpoint = Endpoint { listener: "PLAINTEXT".into(), address: "127.0.0.1:0".parse().unwrap() };
        let server = Server::start(Arc::clone(&plane), &[endpoint], 2).unwrap();
        let address = server.bound()[0].address;
        let harness = Self { clock, engine, questions, plane, server, address };
        harness.publish(1, vec![topic("t", TOPIC_ID, 2, config)], vec![]);
        harness
    }

    pub fn publish(&self, offset: i64, topics: Vec<TopicUpdate>, deleted: Vec<[u8; 16]>) {
        let port = i32::from(self.address.port());
        let endpoints = [("PLAINTEXT".to_owned(), ("127.0.0.1".to_owned(), port))].into();
        self.engine.publish(Update {
            offset,
            controller_id: 1,
            brokers: vec![Broker { id: 1, rack: None, endpoints }],
            features: Features { finalized_epoch: offset, ..Features::default() },
            topics,
            deleted,
        });
    }

    pub fn connect(&self) -> Client {
        Client::to(self.address)
    }
}

pub struct Client {
    stream: TcpStream,
    next_correlation_id: i32,
}

impl Client {
    pub fn to(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub fn over(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        Self { stream, next_correlation_id: 1 }
    }

    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// Whether there is nothing to read, not even the end.
    pub fn hears_nothing(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let found = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        matches!(found, Err(error) if error.kind() == ErrorKind::WouldBlock)
    }

    /// A request as it would be sent.
    pub fn frame(&mut self, key: i16, version: i16, body: impl FnOnce(&mut Writer<'_, BytesMut>)) -> BytesMut {
        self.next_correlation_id += 1;
        let mut frame = BytesMut::new();
        let mut writer = Writer::new(&mut frame);
        let slot = writer.slot();
        write_request_header(&mut writer, key, version, self.next_correlation_id - 1, Some("test")).unwrap();
        body(&mut writer);
        writer.fill_with_size(slot).unwrap();
        frame
    }

    pub fn send_raw(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Sends a request and returns its correlation id.
    pub fn send(&mut self, key: i16, version: i16, body: impl FnOnce(&mut Writer<'_, BytesMut>)) -> i32 {
        let correlation_id = self.next_correlation_id;
        let frame = self.frame(key, version, body);
        self.send_raw(&frame);
        correlation_id
    }

    /// The next answer: correlation id and everything after it.
    pub fn receive(&mut self) -> (i32, Vec<u8>) {
        let mut length = [0; 4];
        self.stream.read_exact(&mut length).unwrap();
        let mut frame = vec![0; usize::try_from(i32::from_be_bytes(length)).unwrap()];
        self.stream.read_exact(&mut frame).unwrap();
        let correlation_id = i32::from_be_bytes(*frame.first_chunk().unwrap());
        (correlation_id, frame.split_off(4))
    }

    /// Sends and receives.
    pub fn ask(&mut self, key: i16, version: i16, body: impl FnOnce(&mut Writer<'_, BytesMut>)) -> Vec<u8> {
        let sent = self.send(key, version, body);
        let (received, answer) = self.receive();
        assert_eq!(received, sent, "answers leave in order");
        answer
    }

    /// Asserts that the broker closes the connection without another byte.
    pub fn expect_closed(&mut self) {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => panic!("expected the end of the connection, got {other:?}"),
        }
    }
}

/// One batch of `values`, with no producer.
pub fn batch(values: &[&str]) -> Vec<u8> {
    shaped(BatchShape::plain(ottla_log::batch::Compression::None, 0), values)
}

pub fn shaped(shape: BatchShape, values: &[&str]) -> Vec<u8> {
    let records: Vec<NewRecord<'_>> = values
        .iter()
        .map(|value| NewRecord {
            timestamp_ms: 1_700_000_000_000,
            key: None,
            value: Some(value.as_bytes()),
            headers: &[],
        })
        .collect();
    build(shape, &records).unwrap()
}

/// Body of a Produce v7 to one partition of topic `t`.
pub fn produce_body(
    writer: &mut Writer<'_, BytesMut>,
    transactional_id: Option<&str>,
    acks: i16,
    topic: &str,
    partition: i32,
    records: &[u8],
) {
    writer.nullable_string(false, transactional_id).unwrap();
    writer.i16(acks);
    writer.i32(30_000);
    writer.array(false, Some(1)).unwrap();
    writer.string(false, topic).unwrap();
    writer.array(false, Some(1)).unwrap();
    writer.i32(partition);
    writer.bytes(false, records).unwrap();
}

/// Error and base offset of the one partition in a Produce v7 answer.
pub fn produced(answer: &[u8]) -> (i16, i64) {
    let mut reader = Reader::new(answer);
    assert_eq!(reader.array(false, 1, "topics").unwrap(), 1);
    reader.string(false, "name").unwrap();
    assert_eq!(reader.array(false, 1, "partitions").unwrap(), 1);
    reader.i32("index").unwrap();
    (reader.i16("error").unwrap(), reader.i64("base offset").unwrap())
}

#[derive(Clone)]
pub struct FetchAsk {
    pub max_wait_ms: i32,
    pub min_bytes: i32,
    pub max_bytes: i32,
    pub partition_max_bytes: i32,
    pub session: (i32, i32),
    pub partitions: Vec<(i32, i64)>,
}

impl Default for FetchAsk {
    fn default() -> Self {
        Self {
            max_wait_ms: 0,
            min_bytes: 1,
            max_bytes: 1 << 20,
            partition_max_bytes: 1 << 20,
            session: (0, -1),
            partitions: vec![(0, 0)],
        }
    }
}

/// Body of a Fetch v7 of topic `t`.
pub fn fetch_body(writer: &mut Writer<'_, BytesMut>, ask: &FetchAsk) {
    writer.i32(-1);
    writer.i32(ask.max_wait_ms);
    writer.i32(ask.min_bytes);
    writer.i32(ask.max_bytes);
    writer.i8(0);
    writer.i32(ask.session.0);
    writer.i32(ask.session.1);
    writer.array(false, Some(usize::from(!ask.partitions.is_empty()))).unwrap();
    if !ask.partitions.is_empty() {
        writer.string(false, "t").unwrap();
        writer.array(false, Some(ask.partitions.len())).unwrap();
        for (partition, offset) in &ask.partitions {
            writer.i32(*partition);
            writer.i64(*offset);
            writer.i64(-1);
            writer.i32(ask.partition_max_bytes);
        }
    }
    writer.array(false, Some(0)).unwrap();
}

#[derive(Debug, PartialEq, Eq)]
pub struct Fetched {
    pub error: i16,
    pub session_id: i32,
    /// (partition, error, high watermark, records)
    pub partitions: Vec<(i32, i16, i64, Vec<u8>)>,
}

/// Reads a Fetch v7 answer.
pub fn fetched(answer: &[u8]) -> Fetched {
    let mut reader = Reader::new(answer);
    reader.i32("throttle").unwrap();
    let error = reader.i16("error").unwrap();
    let session_id = reader.i32("session").unwrap();
    let mut partitions = Vec::new();
    for _ in 0..reader.array(false, 1, "topics").unwrap() {
        assert_eq!(reader.string(false, "topic").unwrap(), "t");
        for _ in 0..reader.array(false, 1, "partitions").unwrap() {
            let partition = reader.i32("partition").unwrap();
            let error = reader.i16("error").unwrap();
            let high_watermark = reader.i64("high watermark").unwrap();
            reader.i64("last stable").unwrap();
            reader.i64("log start").unwrap();
            // Null, or empty where the partition does not exist.
            let aborted = reader.nullable_array(false, 16, "aborted").unwrap();
            assert_eq!(aborted, (error == 3).then_some(0));
            let records = reader.bytes(false, "records").unwrap().to_vec();
            partitions.push((partition, error, high_watermark, records));
        }
    }
    assert_eq!(reader.remaining(), 0);
    Fetched { error, session_id, partitions }
}
