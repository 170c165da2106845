//! Sockets of VMs, held by the test: connections with payload, datagrams, raw SCTP.
//!
//! A socket belongs to the network namespace its thread was in when it was made, wherever it is used afterwards.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketType, ipproto, sockopt};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::lab::Lab;

/// How long an answer may take before it is taken as lost.
const PATIENCE: Duration = Duration::from_millis(1500);

/// How often a server looks whether it is to end.
const TICK: Duration = Duration::from_millis(20);

/// What came of talking to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Talk {
    /// All that was sent came back.
    Answered,
    /// Nothing came.
    Silence,
    /// A TCP RST, or the ICMP error that an UDP or connected socket takes for one.
    Refused,
    /// Another ICMP error.
    Unreachable,
}

fn told(result: io::Result<()>) -> Talk {
    match result.map_err(|why| why.kind()) {
        Ok(()) => Talk::Answered,
        Err(ErrorKind::TimedOut | ErrorKind::WouldBlock) => Talk::Silence,
        Err(ErrorKind::ConnectionRefused | ErrorKind::ConnectionReset) => Talk::Refused,
        Err(_) => Talk::Unreachable,
    }
}

/// A server that sends back what it gets, until dropped.
#[derive(Debug)]
pub struct Echo {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    fn start(serve: impl FnOnce(&AtomicBool) + Send + 'static) -> Echo {
        let stop = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&stop);
        let thread = Some(std::thread::spawn(move || serve(&flag)));
        Echo { stop, thread }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that panicked has printed why.
            let _ = thread.join();
        }
    }
}

fn echo_stream(mut stream: TcpStream, stop: &AtomicBool) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut buffer = [0; 4096];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => stream.write_all(&buffer[..n])?,
            Err(why) if matches!(why.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(why) => return Err(why),
        }
    }
    Ok(())
}

/// A TCP connection to an [`Echo`].
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
}

impl Connection {
    /// Sends `bytes` bytes and demands them back.
    pub fn exchange(&mut self, bytes: usize) -> Talk {
        told(self.try_exchange(bytes))
    }

    fn try_exchange(&mut self, bytes: usize) -> io::Result<()> {
        let sent: Vec<u8> = (0..bytes).map(|i| (i % 251) as u8).collect();
        let mut got = vec![0; 1];
        for part in sent.chunks(2048) {
            self.stream.write_all(part)?;
            got.resize(part.len(), 0);
            self.stream.read_exact(&mut got)?;
            if got != part {
                return Err(ErrorKind::InvalidData.into());
            }
        }
        Ok(())
    }
}

/// A UDP socket that talks to an [`Echo`].
#[derive(Debug)]
pub struct Datagrams(UdpSocket);

impl Datagrams {
    /// Sends a datagram and waits for its echo.
    pub fn exchange(&self) -> Talk {
        told((|| {
            self.0.send(b"hello")?;
            let mut buffer = [0; 64];
            self.0.recv(&mut buffer).map(drop)
        })())
    }
}

impl Lab {
    /// Does something in the network namespace of a VM or host.
    #[track_caller]
    pub fn inside<T: Send>(&self, place: &str, work: impl FnOnce() -> T + Send) -> T {
        let path = format!("/run/netns/{}", self.netns(place));
        let there = File::open(&path).unwrap_or_else(|why| panic!("{path}: {why}"));
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(there.as_fd(), Some(LinkNameSpaceType::Network))
                    .unwrap_or_else(|why| panic!("{path}: {why}"));
                work()
            });
            thread
                .join()
                .unwrap_or_else(|why| std::panic::resume_unwind(why))
        })
    }

    /// Echoes TCP on a port of a VM, IPv4 and IPv6.
    #[track_caller]
    pub fn tcp_echo(&self, vm: &str, port: u16) -> Echo {
        let listener = self
            .inside(vm, || TcpListener::bind(("::", port)))
            .unwrap_or_else(|why| panic!("TCP port {port} of {vm}: {why}"));
        listener
            .set_nonblocking(true)
            .expect("a listener can be made so");
        Echo::start(move |stop| {
            std::thread::scope(|scope| {
                while !stop.load(Ordering::Relaxed) {
                    match listener.accept() {
                        Ok((stream, _)) => {
                            scope.spawn(move || echo_stream(stream, stop));
                        }
                        Err(_) => std::thread::sleep(TICK),
                    }
                }
            });
        })
    }

    /// Echoes UDP on a port of a VM, IPv4 and IPv6.
    #[track_caller]
    pub fn udp_echo(&self, vm: &str, port: u16) -> Echo {
        let socket = self
            .inside(vm, || UdpSocket::bind(("::", port)))
            .unwrap_or_else(|why| panic!("UDP port {port} of {vm}: {why}"));
        socket
            .set_read_timeout(Some(TICK))
            .expect("a time that is not zero");
        Echo::start(move |stop| {
            let mut buffer = [0; 2048];
            while !stop.load(Ordering::Relaxed) {
                if let Ok((n, from)) = socket.recv_from(&mut buffer) {
                    // One that does not arrive is what some tests are about.
                    let _ = socket.send_to(&buffer[..n], from);
                }
            }
        })
    }

    /// Connects from a VM.
    #[track_caller]
    pub fn tcp_connect(&self, vm: &str, to: &str) -> Result<Connection, Talk> {
        let to: SocketAddr = to.parse().unwrap_or_else(|why| panic!("{to}: {why}"));
        let open = || -> io::Result<Connection> {
            let stream = TcpStream::connect_timeout(&to, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(Connection { stream })
        };
        self.inside(vm, open).map_err(|why| told(Err(why)))
    }

    /// Connects from a VM and has 20,000 bytes echoed.
    #[track_caller]
    pub fn tcp(&self, vm: &str, to: &str) -> Talk {
        match self.tcp_connect(vm, to) {
            Ok(mut connection) => connection.exchange(20_000),
            Err(talk) => talk,
        }
    }

    /// A socket in a VM that exchanges datagrams with one place.
    #[track_caller]
    pub fn udp_connect(&self, vm: &str, to: &str) -> Datagrams {
        let to: SocketAddr = to.parse().unwrap_or_else(|why| panic!("{to}: {why}"));
        let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
        let open = || -> io::Result<UdpSocket> {
            let socket = UdpSocket::bind(any)?;
            socket.set_read_timeout(Some(PATIENCE))?;
            socket.connect(to)?;
            Ok(socket)
        };
        let socket = self.inside(vm, open);
        Datagrams(socket.unwrap_or_else(|why| panic!("a UDP socket of {vm} to {to}: {why}")))
    }

    /// Sends a datagram from a VM and waits for its echo.
    #[track_caller]
    pub fn udp(&self, vm: &str, to: &str) -> Talk {
        self.udp_connect(vm, to).exchange()
    }

    /// A raw SCTP socket of a VM: the kernel need not know the protocol.
    #[track_caller]
    pub fn sctp(&self, vm: &str, v6: bool) -> Sctp {
        let family = if v6 {
            AddressFamily::INET6
        } else {
            AddressFamily::INET
        };
        let fd = self
            .inside(vm, || {
                rustix::net::socket(family, SocketType::RAW, Some(ipproto::SCTP))
            })
            .unwrap_or_else(|why| panic!("a raw socket of {vm}: {why}"));
        sockopt::set_socket_timeout(&fd, sockopt::Timeout::Recv, Some(TICK))
            .expect("a socket takes a time");
        Sctp { fd, v6 }
    }

    /// Connections that a host's datapath tracks.
    #[track_caller]
    pub fn tracked(&self, host: &str) -> String {
        let socket = self.host_dir(host).join("vswitchd.ctl");
        let line = format!("ovs-appctl -t {} dpctl/dump-conntrack", socket.display());
        self.run(host, &line).ok()
    }
}

/// Chunk types of SCTP.
pub mod chunk {
    /// Opens an association.
    pub const INIT: u8 = 1;
    /// Answers that.
    pub const INIT_ACK: u8 = 2;
    /// Refuses it.
    pub const ABORT: u8 = 6;
}

/// A raw socket that speaks SCTP.
#[derive(Debug)]
pub struct Sctp {
    fd: OwnedFd,
    v6: bool,
}

impl Sctp {
    /// Sends a packet with one chunk.
    #[track_caller]
    pub fn send(&self, to: &str, ports: (u16, u16), tag: u32, kind: u8) {
        let address: IpAddr = to.parse().unwrap_or_else(|why| panic!("{to}: {why}"));
        let packet = sctp_packet(ports, tag, kind);
        let to = SocketAddr::new(address, 0);
        rustix::net::sendto(&self.fd, &packet, SendFlags::empty(), &to)
            .unwrap_or_else(|why| panic!("SCTP to {address}: {why}"));
    }

    /// The first packet to `port` in time: its source port, its tag and the type of its first chunk.
    pub fn receive(&self, port: u16) -> Option<(u16, u32, u8)> {
        let end = Instant::now() + PATIENCE;
        let mut buffer = [0; 2048];
        while Instant::now() < end {
            let Ok((n, _)) = rustix::net::recv(&self.fd, &mut buffer, RecvFlags::empty()) else {
                continue;
            };
            // With its IP header in IPv4 only.
            let header = if self.v6 {
                0
            } else {
                usize::from(buffer[0] & 15) * 4
            };
            let Some(sctp) = buffer[..n].get(header..).filter(|rest| rest.len() >= 16) else {
                continue;
            };
            let half = |at: usize| u16::from_be_bytes([sctp[at], sctp[at + 1]]);
            if half(2) == port {
                let tag = u32::from(half(4)) << 16 | u32::from(half(6));
                return Some((half(0), tag, sctp[12]));
            }
        }
        None
    }
}

fn sctp_packet((from, to): (u16, u16), tag: u32, kind: u8) -> Vec<u8> {
    let mut packet = Vec::new();
    packet.extend(from.to_be_bytes());
    packet.extend(to.to_be_bytes());
    packet.extend(tag.to_be_bytes());
    packet.extend([0; 4]);
    match kind {
        chunk::INIT | chunk::INIT_ACK => {
            packet.extend([kind, 0, 0, 20]);
            // Tag of the other direction, window, streams out and in, first sequence number.
            packet.extend(0x0102_0304_u32.to_be_bytes());
            packet.extend(65535_u32.to_be_bytes());
            packet.extend([0, 1, 0, 1]);
            packet.extend(1_u32.to_be_bytes());
        }
        _ => packet.extend([kind, 0, 0, 4]),
    }
    let sum = crc32c(&packet).to_le_bytes();
    packet[8..12].copy_from_slice(&sum);
    packet
}

fn crc32c(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 == 1 { 0x82f6_3b78 } else { 0 };
        }
    }
    !crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksum_of_sctp() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(sctp_packet((1, 2), 3, chunk::INIT).len(), 32);
    }
}
