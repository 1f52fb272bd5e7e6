//! The bridge: requests up to Python in batches with one wake-up, answers down in batches.
//!
//! The native side pushes items into one queue; the push that finds it empty rings a pipe. Python's loop reads the
//! pipe, drains a batch (bodies are decoded there, under the GIL it already holds), and later hands back a batch of
//! answers. No future per request, no GIL on a network thread.
//!
//! The queue is bounded. What clients ask has a ticket each (`ottla_server::room`), given back when the item is drained;
//! completions are as many as the control plane watches appends; the end of a connection is told only if it has asked
//! something. A drain ends with the body that fills [`DRAIN_BYTES_MAX`]: decoded, bodies are up to 32 times as large, and
//! those of one drain live at the same time.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use ottla_server::control::{ControlPlane, ControlRequest, TransactionQuestion};
use ottla_server::room::Ticket;
use parking_lot::Mutex;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyTuple};
use tokio::sync::oneshot;
use tracing::{error, warn};

use crate::codec::Codec;
use crate::gil::released;
use crate::wake::Wake;

/// Bodies that one drain decodes, but for a last one that is larger.
const DRAIN_BYTES_MAX: usize = 1024 * 1024;

/// Who waits for an answer, and its bytes.
type Encoded = (oneshot::Sender<Vec<u8>>, Vec<u8>);

enum Item {
    Request(ControlRequest),
    Committed(u64),
    NeverCommitted(u64),
    CreateTopics { names: Vec<String>, ticket: Ticket, reply: oneshot::Sender<Vec<(String, i16)>> },
    VerifyTransaction(TransactionQuestion),
    Disconnected(u64),
    MetadataOffline(String),
}

impl Item {
    /// What it costs to hand it over, but for what every item costs.
    fn bytes(&self) -> usize {
        match self {
            Self::Request(request) => request.body.len(),
            Self::CreateTopics { names, .. } => names.iter().map(String::len).sum(),
            Self::VerifyTransaction(question) => question.partitions.iter().map(|(topic, _)| topic.len()).sum(),
            Self::Committed(_) | Self::NeverCommitted(_) | Self::Disconnected(_) | Self::MetadataOffline(_) => 0,
        }
    }
}

/// How many of the items one drain takes: at most `most`, and none behind the one that reaches the bound of bytes.
fn count_for_drain(items: &VecDeque<Item>, most: usize) -> usize {
    let mut bytes = 0;
    let mut count = 0;
    for item in items.iter().take(most) {
        count += 1;
        bytes += item.bytes();
        if bytes >= DRAIN_BYTES_MAX {
            break;
        }
    }
    count
}

/// Who waits for an answer, by token.
enum Waiting {
    Request { api_key: i16, api_version: i16, reply: oneshot::Sender<Vec<u8>> },
    CreateTopics(oneshot::Sender<Vec<(String, i16)>>),
    VerifyTransaction(oneshot::Sender<i16>),
}

/// What the native side and the Python side share.
pub struct Queue {
    items: Mutex<VecDeque<Item>>,
    wake: Wake,
}

impl Queue {
    fn push(&self, item: Item) {
        let mut items = self.items.lock();
        let was_empty = items.is_empty();
        items.push_back(item);
        drop(items);
        if was_empty {
            self.wake.ring();
        }
    }

    /// A watched append is covered by the high watermark.
    pub fn committed(&self, token: u64) {
        self.push(Item::Committed(token));
    }

    /// A watched append waits in vain: its partition is offline.
    pub fn never_committed(&self, token: u64) {
        self.push(Item::NeverCommitted(token));
    }

    /// The metadata log takes nothing any more, and what waits for its commit waits in vain.
    pub fn metadata_offline(&self, reason: String) {
        self.push(Item::MetadataOffline(reason));
    }
}

impl ControlPlane for Queue {
    fn serve(&self, request: ControlRequest) {
        self.push(Item::Request(request));
    }

    fn create_topics(&self, names: Vec<String>, ticket: Ticket, reply: oneshot::Sender<Vec<(String, i16)>>) {
        self.push(Item::CreateTopics { names, ticket, reply });
    }

    fn verify_transaction(&self, question: TransactionQuestion) {
        self.push(Item::VerifyTransaction(question));
    }

    fn disconnected(&self, connection_id: u64) {
        self.push(Item::Disconnected(connection_id));
    }
}

/// See `_core.pyi`.
#[pyclass(frozen, module = "ottla._core")]
pub struct Bridge {
    queue: Arc<Queue>,
    codec: Py<Codec>,
    waiting: Mutex<HashMap<u64, Waiting>>,
    next_token: AtomicU64,
}

impl Bridge {
    pub fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    fn keep(&self, waiting: Waiting) -> u64 {
        let token = self.next_token.fetch_add(1, Ordering::Relaxed);
        self.waiting.lock().insert(token, waiting);
        token
    }

    fn take(&self, token: u64) -> Option<Waiting> {
        self.waiting.lock().remove(&token)
    }

    /// One request as Python sees it; `None` when its body cannot be decoded, which closes the connection.
    fn request_item<'py>(
        &self,
        py: Python<'py>,
        codec: &Codec,
        request: ControlRequest,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let ControlRequest { api_key, api_version, correlation_id, client_id, peer, received, body, ticket, reply } =
            request;
        let decoded = match codec.decode_request_to_py(py, api_key, api_version, &body) {
            Ok(decoded) => decoded,
            Err(error) => {
                warn!(
                    "closing connection {} from {} on {}: request {api_key} v{api_version}: {error}",
                    peer.connection_id, peer.host, peer.listener
                );
                return Ok(None);
            }
        };
        drop((body, ticket));
        let token = self.keep(Waiting::Request { api_key, api_version, reply });
        let item = (
            "request",
            token,
            api_key,
            api_version,
            correlation_id,
            client_id,
            peer.host.to_string(),
            peer.connection_id,
            &*peer.listener,
            u64::try_from(received.as_millis()).unwrap_or(u64::MAX),
            decoded,
        );
        item.into_pyobject(py).map(|tuple| Some(tuple.into_any()))
    }

    /// An answer as bytes, and who waits for it; None if nobody does.
    fn encoded(&self, py: Python<'_>, answer: Bound<'_, PyAny>) -> PyResult<Option<Encoded>> {
        let pair = answer.cast_into::<PyTuple>()?;
        let token: u64 = pair.get_item(0)?.extract()?;
        let Some(Waiting::Request { api_key, api_version, reply }) = self.take(token) else {
            warn!("answer to the unknown token {token} is dropped");
            return Ok(None);
        };
        let mut body = Vec::new();
        self.codec
            .get()
            .encode_response_from_py(py, api_key, api_version, &pair.get_item(1)?, &mut body)
            .inspect_err(|error| error!("the answer to request {api_key} v{api_version} cannot be encoded: {error}"))?;
        Ok(Some((reply, body)))
    }
}

#[pymethods]
impl Bridge {
    #[new]
    fn new(codec: Py<Codec>) -> PyResult<Self> {
        let queue = Arc::new(Queue { items: Mutex::new(VecDeque::new()), wake: Wake::new()? });
        Ok(Self { queue, codec, waiting: Mutex::new(HashMap::new()), next_token: AtomicU64::new(1) })
    }

    fn fileno(&self) -> i32 {
        self.queue.wake.fileno()
    }

    fn drain<'py>(&self, py: Python<'py>, most: usize) -> PyResult<Bound<'py, PyList>> {
        let taken: Vec<Item> = released(py, || {
            let mut items = self.queue.items.lock();
            // Rings are taken back before the queue is looked at: a push after this rings again or is seen here.
            self.queue.wake.clear();
            let count = count_for_drain(&items, most);
            let taken = items.drain(..count).collect();
            if !items.is_empty() {
                self.queue.wake.ring();
            }
            taken
        });
        let codec = self.codec.get();
        let drained = PyList::empty(py);
        for item in taken {
            let item = match item {
                Item::Request(request) => match self.request_item(py, codec, request)? {
                    Some(item) => item,
                    None => continue,
                },
                Item::Committed(token) => ("committed", token).into_pyobject(py)?.into_any(),
                Item::NeverCommitted(token) => ("never_committed", token).into_pyobject(py)?.into_any(),
                Item::CreateTopics { names, ticket, reply } => {
                    drop(ticket);
                    let token = self.keep(Waiting::CreateTopics(reply));
                    ("create_topics", token, names).into_pyobject(py)?.into_any()
                }
                Item::VerifyTransaction(question) => {
                    let TransactionQuestion {
                        transactional_id,
                        producer_id,
                        producer_epoch,
                        partitions,
                        is_adding,
                        ..
                    } = question;
                    let partitions: Vec<(&str, i32)> =
                        partitions.iter().map(|(topic, index)| (&**topic, *index)).collect();
                    let partitions = partitions.into_pyobject(py)?;
                    let token = self.keep(Waiting::VerifyTransaction(question.reply));
                    ("verify_transaction", token, transactional_id, producer_id, producer_epoch, partitions, is_adding)
                        .into_pyobject(py)?
                        .into_any()
                }
                Item::Disconnected(connection_id) => ("disconnected", connection_id).into_pyobject(py)?.into_any(),
                Item::MetadataOffline(reason) => ("metadata_offline", reason).into_pyobject(py)?.into_any(),
            };
            drained.append(item)?;
        }
        Ok(drained)
    }

    fn answer(&self, py: Python<'_>, answers: &Bound<'_, PyList>) -> PyResult<()> {
        let mut first_error = None;
        let mut ready = Vec::with_capacity(answers.len());
        for answer in answers {
            match self.encoded(py, answer) {
                Ok(encoded) => ready.extend(encoded),
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        // All at once: a network thread that found nothing more to do after each of them would go to sleep each time, and
        // be woken from here for the next. The connection may be gone; then nobody wants the answer.
        for (reply, body) in ready {
            drop(reply.send(body));
        }
        first_error.map_or(Ok(()), Err)
    }

    fn refuse(&self, py: Python<'_>, token: u64) {
        released(py, || drop(self.take(token)));
    }

    fn resume(&self, py: Python<'_>, token: u64, results: Vec<(String, i16)>) {
        released(py, || {
            if let Some(Waiting::CreateTopics(reply)) = self.take(token) {
                drop(reply.send(results));
            }
        });
    }

    fn resume_verify(&self, py: Python<'_>, token: u64, error_code: i16) {
        released(py, || {
            if let Some(Waiting::VerifyTransaction(reply)) = self.take(token) {
                // The connection may be gone; then nobody waits for the verdict.
                let _ = reply.send(error_code);
            }
        });
    }

    /// Requests that wait for an answer.
    fn pending(&self, py: Python<'_>) -> usize {
        released(py, || self.waiting.lock().len())
    }
}
