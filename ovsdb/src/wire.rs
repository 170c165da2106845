//! JSON-RPC 1.0 on a byte stream (RFC 7047, section 4): objects follow each other without separator.
//!
//! Framing counts braces outside strings with `memchr`; of a message only the members are told apart, `params` and
//! `result` stay text until somebody who knows their type reads them.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt, AsyncWrite};

use crate::stream::Stream;

/// What is wrong with what the peer sent.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Something else than an object at the top level.
    #[error("the peer sent 0x{0:02x} where a JSON object was expected: is this an OVSDB server?")]
    NoObject(u8),
    /// The stream failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The peer closed the stream.
    #[error("the peer closed the connection")]
    Closed,
    /// The object is not a JSON-RPC message, or its contents are not what the protocol says.
    #[error("malformed message: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An object that is neither request, notification nor reply.
    #[error("a message that is neither request, notification nor reply")]
    Shapeless,
}

/// Finds where messages end. Bytes already looked at are not looked at again.
#[derive(Debug, Default)]
pub struct Framer {
    at: usize,
    depth: usize,
    in_string: bool,
}

impl Framer {
    /// The length of the first message in `buffer`, if it is complete. `buffer` must begin with the bytes it began with
    /// at the last call, unless that call yielded a message, which must be gone.
    pub fn scan(&mut self, buffer: &[u8]) -> Result<Option<usize>, WireError> {
        loop {
            let rest = &buffer[self.at..];
            if self.in_string {
                let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
                    self.at = buffer.len();
                    return Ok(None);
                };
                if rest[found] == b'\\' {
                    // The escaped byte may not be here yet: come back to the backslash then.
                    if found + 1 >= rest.len() {
                        self.at += found;
                        return Ok(None);
                    }
                    self.at += found + 2;
                } else {
                    self.in_string = false;
                    self.at += found + 1;
                }
                continue;
            }
            if self.depth == 0 {
                let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
                match rest.get(blanks) {
                    None => return Ok(None),
                    Some(b'{') => (self.at, self.depth) = (self.at + blanks + 1, 1),
                    Some(&other) => return Err(WireError::NoObject(other)),
                }
                continue;
            }
            let Some(found) = memchr::memchr3(b'"', b'{', b'}', rest) else {
                self.at = buffer.len();
                return Ok(None);
            };
            self.at += found + 1;
            match rest[found] {
                b'"' => self.in_string = true,
                b'{' => self.depth += 1,
                _ => {
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(std::mem::take(&mut self.at)));
                    }
                }
            }
        }
    }
}

/// Buffers are not kept for later messages when they have become this large, in bytes.
const LARGE: usize = 1 << 20;

/// A stream of messages in both directions.
pub struct Connection {
    stream: Stream,
    framer: Framer,
    input: BytesMut,
    /// As they were given: large ones are not copied.
    output: VecDeque<Bytes>,
    received: u64,
}

impl Connection {
    /// Speaks over `stream`.
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        let input = BytesMut::with_capacity(64 * 1024);
        Connection {
            stream,
            framer: Framer::default(),
            input,
            output: VecDeque::new(),
            received: 0,
        }
    }

    /// Queues bytes; they leave while [`next`](Self::next) is awaited.
    pub fn send(&mut self, message: Vec<u8>) {
        if !message.is_empty() {
            self.output.push_back(message.into());
        }
    }

    /// Number of bytes received so far.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// The next message; meanwhile what is queued is sent. Nothing is lost if the future is dropped.
    pub async fn next(&mut self) -> Result<Bytes, WireError> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, WireError>> {
        // A peer that does not want to hear us may have said why before it closed: reading goes on, and ends soon.
        match self.poll_send(cx) {
            Poll::Ready(Err(error))
                if !matches!(
                    error.kind(),
                    io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset
                ) =>
            {
                Poll::Ready(Err(error.into()))
            }
            _ => self.poll_receive(cx),
        }
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, WireError>> {
        loop {
            if let Some(length) = self.framer.scan(&self.input)? {
                return Poll::Ready(Ok(self.take(length)));
            }
            // A large message grows the buffer in proportion, so that it is not moved too often.
            self.input.reserve((self.input.len() / 2).max(64 * 1024));
            let read = pin!(self.stream.read_buf(&mut self.input)).poll(cx);
            match ready!(read)? {
                0 => return Poll::Ready(Err(WireError::Closed)),
                n => self.received += n as u64,
            }
        }
    }

    /// Takes the first message out of the buffer. A large one takes the buffer with it, so that its memory is free as soon
    /// as it has been read.
    fn take(&mut self, length: usize) -> Bytes {
        if length < LARGE {
            return self.input.split_to(length).freeze();
        }
        let rest = BytesMut::from(&self.input[length..]);
        let mut message = std::mem::replace(&mut self.input, rest);
        message.truncate(length);
        message.freeze()
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut stream = Pin::new(&mut self.stream);
        while let Some(first) = self.output.front_mut() {
            let written = ready!(stream.as_mut().poll_write(cx, first))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            first.advance(written);
            if first.is_empty() {
                self.output.pop_front();
            }
        }
        stream.poll_flush(cx)
    }
}

/// The error member of a reply: a string, or `{"error": .., "details": .., "syntax": ..}` (RFC 7047, section 3.1).
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{error}{}{}", if details.is_empty() { "" } else { ": " }, details)]
pub struct RpcError {
    /// What kind of error: `unknown method`, `unknown database`, `syntax error` ...
    pub error: String,
    /// More about it, for people.
    pub details: String,
}

impl RpcError {
    /// From the JSON form.
    #[must_use]
    pub fn from_json(json: &Json) -> Self {
        let text = |member: &str| {
            json.get(member)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        match json {
            Json::String(error) => RpcError {
                error: error.clone(),
                details: String::new(),
            },
            Json::Object(_) => RpcError {
                error: text("error"),
                details: text("details"),
            },
            other => RpcError {
                error: other.to_string(),
                details: String::new(),
            },
        }
    }

    /// The server does not know the method called.
    #[must_use]
    pub fn is_unknown_method(&self) -> bool {
        self.error == "unknown method"
    }
}

/// A message, its larger parts still text.
#[derive(Debug)]
pub enum Message<'a> {
    /// To be answered with the same id.
    Request {
        /// What is to be done.
        method: String,
        /// Its arguments.
        params: &'a RawValue,
        /// Goes into the reply as it is.
        id: &'a RawValue,
    },
    /// Not to be answered.
    Notification {
        /// What happened.
        method: String,
        /// Its arguments.
        params: &'a RawValue,
    },
    /// The answer to a request of ours.
    Reply {
        /// Of the request.
        id: u64,
        /// `None` stands for a null result.
        result: Result<Option<&'a RawValue>, RpcError>,
    },
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow, default)]
    id: Option<&'a RawValue>,
    #[serde(default)]
    method: Option<String>,
    #[serde(borrow, default)]
    params: Option<&'a RawValue>,
    #[serde(borrow, default)]
    result: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Json>,
}

impl<'a> Message<'a> {
    /// Tells the members of a message apart.
    pub fn read(frame: &'a [u8]) -> Result<Self, WireError> {
        let Envelope {
            id,
            method,
            params,
            result,
            error,
        } = serde_json::from_slice(frame)?;
        match (method, params, id) {
            (Some(method), Some(params), Some(id)) => Ok(Message::Request { method, params, id }),
            (Some(method), Some(params), None) => Ok(Message::Notification { method, params }),
            (None, None, Some(id)) => Ok(Message::Reply {
                id: serde_json::from_str(id.get())?,
                result: error.map_or(Ok(result), |error| Err(RpcError::from_json(&error))),
            }),
            _ => Err(WireError::Shapeless),
        }
    }
}

/// A request as bytes.
#[must_use]
pub fn request(method: &str, params: &impl Serialize, id: u64) -> Vec<u8> {
    #[derive(Serialize)]
    struct Request<'a, P> {
        method: &'a str,
        params: &'a P,
        id: u64,
    }
    serde_json::to_vec(&Request { method, params, id }).expect("JSON values have string keys only")
}

/// A reply as bytes.
#[must_use]
pub fn reply(id: &RawValue, result: &RawValue) -> Vec<u8> {
    format!("{{\"id\":{id},\"result\":{result},\"error\":null}}").into_bytes()
}

/// The refusal of a request as bytes.
#[must_use]
pub fn refusal(id: &RawValue, error: &str) -> Vec<u8> {
    format!(
        "{{\"id\":{id},\"result\":null,\"error\":{}}}",
        Json::from(error)
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a server wrote them.
    const CAPTURED: &str = concat!(
        r#"{"id":1,"error":"unknown method"}"#,
        r#"{"id":1,"result":{"locked":true},"error":null}"#,
        r#"{"id":1,"error":{"syntax":"[\"name\",\"zz\"]","details":"zz is not a valid column name","error":"syntax error"}}"#,
        r#"{"id":null,"method":"update3","params":["m2","00000000-0000-0000-0000-000000000000",{"A":{"01b9e1ca-e356-499b-972a-3faec4ee9fa8":{"insert":{"name":"x{\"}"}}}}]}"#,
        "\n",
        r#"{"id":"echo","method":"echo","params":[]}"#,
    );

    fn frames(pieces: impl IntoIterator<Item = Vec<u8>>) -> Vec<String> {
        let (mut framer, mut buffer, mut found) = (Framer::default(), Vec::new(), Vec::new());
        for piece in pieces {
            buffer.extend(piece);
            while let Some(length) = framer.scan(&buffer).unwrap() {
                found.push(
                    String::from_utf8(buffer.drain(..length).collect())
                        .unwrap()
                        .trim()
                        .to_owned(),
                );
            }
        }
        assert!(buffer.is_empty());
        found
    }

    #[test]
    fn frames_do_not_depend_on_how_bytes_arrive() {
        let whole = frames([CAPTURED.as_bytes().to_vec()]);
        assert_eq!(whole.len(), 5);
        for size in 1..40 {
            assert_eq!(
                frames(CAPTURED.as_bytes().chunks(size).map(<[u8]>::to_vec)),
                whole,
                "pieces of {size} bytes"
            );
        }
        assert!(matches!(
            Framer::default().scan(b" HTTP/1.1"),
            Err(WireError::NoObject(b'H'))
        ));
    }

    #[test]
    fn messages_as_servers_write_them() {
        let frames = frames([CAPTURED.as_bytes().to_vec()]);
        let read = |i: usize| Message::read(frames[i].as_bytes()).unwrap();
        let Message::Reply {
            id: 1,
            result: Err(error),
        } = read(0)
        else {
            panic!()
        };
        assert!(error.is_unknown_method());
        let Message::Reply {
            result: Ok(Some(result)),
            ..
        } = read(1)
        else {
            panic!()
        };
        assert_eq!(result.get(), r#"{"locked":true}"#);
        let Message::Reply {
            result: Err(error), ..
        } = read(2)
        else {
            panic!()
        };
        assert_eq!(
            error.to_string(),
            "syntax error: zz is not a valid column name"
        );
        assert!(matches!(read(3), Message::Notification { method, .. } if method == "update3"));
        let Message::Request { method, params, id } = read(4) else {
            panic!()
        };
        assert_eq!(method, "echo");
        assert_eq!(
            reply(id, params),
            br#"{"id":"echo","result":[],"error":null}"#
        );
    }

    #[test]
    fn shapeless() {
        assert!(matches!(Message::read(b"{}"), Err(WireError::Shapeless)));
        assert!(matches!(
            Message::read(br#"{"id":"#),
            Err(WireError::Malformed(_))
        ));
    }
}
