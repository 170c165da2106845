//! A connection to a bridge's management socket.
//!
//! One task reads and one writes, so that a switch that answers while it is being sent much never waits for us and we
//! never for it. Answers find their request by transaction id; what no request asked for goes to [`Events`]. When the
//! connection ends every request fails with [`ConnError::Closed`] and `Events` ends; connecting anew is the caller's.

mod bulk;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

use crate::message::{
    Counters, Features, FlowSelect, FlowStats, GROUP_ALL, GroupDesc, HEADER_LEN, Header, METER_ALL,
    Message, MeterDesc, MultipartReply, MultipartRequest, OfError, PacketIn, PortDesc, PortStatus,
    TlvTable,
};
use crate::port::Port;
use crate::wire::{DecodeError, EncodeError};

pub use bulk::{Bundle, BundleError, ToMessage};

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum ConnError {
    /// The target is no `unix:PATH`.
    #[error("{0:?} is no OpenFlow target of the form unix:PATH")]
    Target(String),
    /// The socket failed.
    #[error("{path}: {source}")]
    Io {
        /// The socket.
        path: PathBuf,
        /// How.
        source: std::io::Error,
    },
    /// The connection is gone.
    #[error("the OpenFlow connection is closed")]
    Closed,
    /// More waits to be written than there is room for.
    #[error("the switch is busy")]
    Busy,
    /// The handshake or the answer did not come in time.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The switch speaks no OpenFlow 1.5.
    #[error("the switch does not speak OpenFlow 1.5 (versions {0:#x})")]
    Version(u32),
    /// The switch answered something else.
    #[error("unexpected answer: {0}")]
    Unexpected(String),
    /// The switch reported an error.
    #[error(transparent)]
    Switch(#[from] OfError),
    /// A message cannot be written.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// An answer cannot be read.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What a switch says unasked.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // Packet-ins are what there are many of.
pub enum Event {
    /// A packet for the controller.
    PacketIn(PacketIn),
    /// A port changed.
    PortStatus(PortStatus),
    /// An error about a message whose sender did not wait for an answer, as [`Conn::send`] does not.
    Error {
        /// The transaction id that `send` returned.
        xid: u32,
        /// The error.
        error: OfError,
    },
    /// Another message, or one that could not be read.
    Other(Result<Message, DecodeError>),
}

/// The events of a connection; ends with it.
pub type Events = mpsc::UnboundedReceiver<Event>;

/// How long a handshake or an answer may take: a switch busy with a hundred thousand flows answers after seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection; clones share it. It closes when the last is dropped.
#[derive(Debug, Clone)]
pub struct Conn {
    shared: Arc<Shared>,
    writer: mpsc::Sender<Vec<u8>>,
    features: Features,
}

#[derive(Debug)]
struct Shared {
    next_xid: AtomicU32,
    pending: Mutex<Pending>,
}

#[derive(Debug, Default)]
struct Pending {
    closed: bool,
    requests: HashMap<u32, Request>,
    /// Errors of messages that were sent many at a time.
    collecting: Vec<bulk::Collected>,
}

#[derive(Debug)]
struct Request {
    answer: oneshot::Sender<Result<Message, ConnError>>,
    /// Parts that came so far.
    parts: Option<MultipartReply>,
}

impl Shared {
    fn pending(&self) -> std::sync::MutexGuard<'_, Pending> {
        // A panic elsewhere leaves the maps whole: every change is one call.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let mut pending = self.pending();
        pending.closed = true;
        pending.requests.clear();
    }
}

impl Conn {
    /// Connects to `unix:PATH` and shakes hands: version, features, packet-ins as `NXT_PACKET_IN2`.
    ///
    /// # Errors
    /// When the socket, the version or the handshake fails.
    pub async fn connect(target: &str) -> Result<(Conn, Events), ConnError> {
        let path = target
            .strip_prefix("unix:")
            .ok_or_else(|| ConnError::Target(target.to_owned()))?;
        let path = Path::new(path);
        let io = |source| ConnError::Io {
            path: path.to_owned(),
            source,
        };
        let stream = UnixStream::connect(path).await.map_err(io)?;
        tokio::time::timeout(PATIENCE, Self::handshake(stream, path))
            .await
            .map_err(|_| ConnError::Timeout(PATIENCE))?
    }

    async fn handshake(stream: UnixStream, path: &Path) -> Result<(Conn, Events), ConnError> {
        let io = |source| ConnError::Io {
            path: path.to_owned(),
            source,
        };
        let (mut read, mut write) = stream.into_split();
        let mut hello = Vec::new();
        Message::Hello(1 << crate::message::VERSION).encode(1, &mut hello)?;
        write.write_all(&hello).await.map_err(io)?;
        let mut first = Vec::new();
        if !read_frame(&mut read, &mut first).await.map_err(io)? {
            return Err(ConnError::Closed);
        }
        match Message::decode(&first)?.1 {
            Message::Hello(versions) if versions & 1 << crate::message::VERSION != 0 => {}
            Message::Hello(versions) => return Err(ConnError::Version(versions)),
            Message::Error(e) => return Err(e.into()),
            other => return Err(ConnError::Unexpected(format!("{other:?}"))),
        }
        let shared = Arc::new(Shared {
            next_xid: AtomicU32::new(2),
            pending: Mutex::default(),
        });
        let (events_in, events) = mpsc::unbounded_channel();
        let (writer, to_write) = mpsc::channel(64);
        let features = Features {
            datapath_id: 0,
            n_buffers: 0,
            n_tables: 0,
            capabilities: 0,
        };
        let mut conn = Conn {
            shared: Arc::clone(&shared),
            writer: writer.clone(),
            features,
        };
        // The reader must not keep the writer open, or the connection would outlive its handles.
        tokio::spawn(read_task(
            read,
            Arc::clone(&shared),
            events_in,
            writer.downgrade(),
        ));
        tokio::spawn(write_task(write, to_write, shared));
        conn.features = match conn.request(Message::FeaturesRequest).await? {
            Message::FeaturesReply(features) => features,
            other => return Err(ConnError::Unexpected(format!("{other:?}"))),
        };
        // Only a connection that asked for packets that miss is sent any; 65535 is the whole packet.
        conn.send(&Message::SetConfig {
            flags: 0,
            miss_send_len: u16::MAX,
        })
        .await?;
        conn.send(&Message::SetPacketInFormat(2)).await?;
        conn.barrier().await?;
        Ok((conn, events))
    }

    /// What the switch said it can.
    #[must_use]
    pub fn features(&self) -> Features {
        self.features
    }

    /// Whether the connection is gone.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.pending().closed
    }

    fn xid(&self) -> u32 {
        self.xids(1)
    }

    /// The first of `count` transaction ids that follow each other. 0 is the switch's, for what nobody asked.
    fn xids(&self, count: u32) -> u32 {
        let after = |first: u32| match first.checked_add(count) {
            Some(after) if first > 0 => (first, after),
            _ => (1, count.saturating_add(1)),
        };
        let ids = &self.shared.next_xid;
        let next = ids.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(after(n).1));
        after(next.unwrap_or_else(|same| same)).0
    }

    async fn write(&self, bytes: Vec<u8>) -> Result<(), ConnError> {
        self.writer.send(bytes).await.map_err(|_| ConnError::Closed)
    }

    /// Sends a message that has no answer; returns its transaction id. An error about it comes as [`Event::Error`].
    ///
    /// # Errors
    /// When it cannot be written or the connection is gone.
    pub async fn send(&self, message: &Message) -> Result<u32, ConnError> {
        let xid = self.xid();
        let mut bytes = Vec::new();
        message.encode(xid, &mut bytes)?;
        self.write(bytes).await?;
        Ok(xid)
    }

    /// Hands over messages that have no answers, in their order, without waiting: either all or none are sent. Errors about
    /// them come as [`Event::Error`].
    ///
    /// # Errors
    /// [`ConnError::Busy`] when too much is waiting to be written, or as [`Conn::send`].
    pub fn post<'m>(
        &self,
        messages: impl IntoIterator<Item = &'m Message>,
    ) -> Result<(), ConnError> {
        let mut bytes = Vec::new();
        for message in messages {
            message.encode(self.xid(), &mut bytes)?;
        }
        self.writer.try_send(bytes).map_err(|e| match e {
            mpsc::error::TrySendError::Full(_) => ConnError::Busy,
            mpsc::error::TrySendError::Closed(_) => ConnError::Closed,
        })
    }

    /// Sends a message and waits for its answer, all parts of it.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn request(&self, message: Message) -> Result<Message, ConnError> {
        let xid = self.xid();
        let mut bytes = Vec::new();
        message.encode(xid, &mut bytes)?;
        let answer = self.expect(xid)?;
        self.write(bytes).await?;
        match tokio::time::timeout(PATIENCE, answer).await {
            Ok(answer) => answer.map_err(|_| ConnError::Closed)?,
            Err(_) => {
                self.shared.pending().requests.remove(&xid);
                Err(ConnError::Timeout(PATIENCE))
            }
        }
    }

    fn expect(&self, xid: u32) -> Result<oneshot::Receiver<Result<Message, ConnError>>, ConnError> {
        let (answer, receiver) = oneshot::channel();
        let mut pending = self.shared.pending();
        if pending.closed {
            return Err(ConnError::Closed);
        }
        pending.requests.insert(
            xid,
            Request {
                answer,
                parts: None,
            },
        );
        Ok(receiver)
    }

    /// Waits until the switch has done all that was sent before.
    ///
    /// # Errors
    /// A broken connection.
    pub async fn barrier(&self) -> Result<(), ConnError> {
        match self.request(Message::BarrierRequest).await? {
            Message::BarrierReply => Ok(()),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    async fn multipart(&self, request: MultipartRequest) -> Result<MultipartReply, ConnError> {
        match self.request(Message::MultipartRequest(request)).await? {
            Message::MultipartReply { body, .. } => Ok(body),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    /// The installed flows.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn dump_flows(&self, select: FlowSelect) -> Result<Vec<FlowStats>, ConnError> {
        match self.multipart(MultipartRequest::Flows(select)).await? {
            MultipartReply::Flows(flows) => Ok(flows),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    /// How many flows there are, and their packets and bytes.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn aggregate(&self, select: FlowSelect) -> Result<Counters, ConnError> {
        match self.multipart(MultipartRequest::Aggregate(select)).await? {
            MultipartReply::Aggregate(counters) => Ok(counters),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    /// How many flows are installed.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn flow_count(&self) -> Result<u32, ConnError> {
        Ok(self.aggregate(FlowSelect::default()).await?.flows)
    }

    /// The installed groups.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn dump_groups(&self) -> Result<Vec<GroupDesc>, ConnError> {
        match self
            .multipart(MultipartRequest::GroupDesc(GROUP_ALL))
            .await?
        {
            MultipartReply::GroupDesc(groups) => Ok(groups),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    /// The installed meters.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn dump_meters(&self) -> Result<Vec<MeterDesc>, ConnError> {
        match self
            .multipart(MultipartRequest::MeterDesc(METER_ALL))
            .await?
        {
            MultipartReply::MeterDesc(meters) => Ok(meters),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    /// The bridge's ports.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn dump_ports(&self) -> Result<Vec<PortDesc>, ConnError> {
        match self
            .multipart(MultipartRequest::PortDesc(Port::ANY.0))
            .await?
        {
            MultipartReply::PortDesc(ports) => Ok(ports),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }

    /// The TLV table.
    ///
    /// # Errors
    /// The switch's error, or a broken connection.
    pub async fn tlv_table(&self) -> Result<TlvTable, ConnError> {
        match self.request(Message::TlvTableRequest).await? {
            Message::TlvTableReply(table) => Ok(table),
            other => Err(ConnError::Unexpected(format!("{other:?}"))),
        }
    }
}

/// Reads one message into `frame`; false at the end of the stream.
async fn read_frame(read: &mut OwnedReadHalf, frame: &mut Vec<u8>) -> std::io::Result<bool> {
    frame.resize(HEADER_LEN, 0);
    match read.read_exact(frame).await {
        Ok(_) => {}
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(false),
        Err(e) => return Err(e),
    }
    let header = Header::decode(frame).map_err(std::io::Error::other)?;
    frame.resize(usize::from(header.len), 0);
    read.read_exact(&mut frame[HEADER_LEN..]).await?;
    Ok(true)
}

async fn read_task(
    mut read: OwnedReadHalf,
    shared: Arc<Shared>,
    events: mpsc::UnboundedSender<Event>,
    writer: mpsc::WeakSender<Vec<u8>>,
) {
    let mut frame = Vec::new();
    loop {
        match read_frame(&mut read, &mut frame).await {
            Ok(true) => {}
            Ok(false) => break,
            Err(e) => {
                tracing::warn!("OpenFlow connection: {e}");
                break;
            }
        }
        match Message::decode(&frame) {
            Ok((xid, Message::EchoRequest(body))) => {
                let mut reply = Vec::new();
                let Some(writer) = writer.upgrade() else {
                    break;
                };
                // Waiting for the writer here could wait for a switch that waits for us to read. When the queue is full the
                // switch is getting enough from us to know that we live.
                if Message::EchoReply(body).encode(xid, &mut reply).is_ok() {
                    drop(writer.try_send(reply));
                }
            }
            Ok((xid, message)) => shared.dispatch(xid, message, &events),
            Err(e) => {
                let xid = Header::decode(&frame).map_or(0, |h| h.xid);
                let request = shared.pending().requests.remove(&xid);
                match request {
                    Some(request) => drop(request.answer.send(Err(e.into()))),
                    None => drop(events.send(Event::Other(Err(e)))),
                }
            }
        }
    }
    shared.close();
}

impl Shared {
    fn dispatch(&self, xid: u32, message: Message, events: &mpsc::UnboundedSender<Event>) {
        let event = match message {
            Message::PacketIn(p) => Event::PacketIn(p),
            Message::PortStatus(p) => Event::PortStatus(p),
            message => {
                let mut pending = self.pending();
                match pending.answer(xid, message) {
                    Some(event) => event,
                    None => return,
                }
            }
        };
        // Nobody listens for events: that is the owner's choice.
        drop(events.send(event));
    }
}

impl Pending {
    /// Gives the message to whoever waits for it; comes back when nobody does.
    fn answer(&mut self, xid: u32, message: Message) -> Option<Event> {
        let answer = match message {
            Message::Error(error) => {
                let mut blocks = self.collecting.iter_mut();
                if let Some((block, at)) = blocks.find_map(|b| b.offset(xid).map(|at| (b, at))) {
                    block.errors.push((at, error));
                    return None;
                }
                match self.requests.remove(&xid) {
                    Some(request) => drop(request.answer.send(Err(error.into()))),
                    None => return Some(Event::Error { xid, error }),
                }
                return None;
            }
            Message::MultipartReply { more, body } => {
                let Some(request) = self.requests.get_mut(&xid) else {
                    return Some(Event::Other(Ok(Message::MultipartReply { more, body })));
                };
                match &mut request.parts {
                    Some(parts) => parts.extend(body),
                    empty => *empty = Some(body),
                }
                if more {
                    return None;
                }
                match request.parts.take() {
                    Some(body) => Message::MultipartReply { more: false, body },
                    None => return None,
                }
            }
            message => message,
        };
        match self.requests.remove(&xid) {
            // Whoever asked may have given up.
            Some(request) => drop(request.answer.send(Ok(answer))),
            None => return Some(Event::Other(Ok(answer))),
        }
        None
    }
}

async fn write_task(
    mut write: OwnedWriteHalf,
    mut queue: mpsc::Receiver<Vec<u8>>,
    shared: Arc<Shared>,
) {
    while let Some(bytes) = queue.recv().await {
        if let Err(e) = write.write_all(&bytes).await {
            tracing::warn!("OpenFlow connection: {e}");
            break;
        }
    }
    shared.close();
}
