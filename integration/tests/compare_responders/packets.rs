//! What machines ask, as frames of `p1`.

use weft_packet::{Ethernet, IpHeader, Mac, protocol, transport};

/// Who asks.
pub const P1: Mac = Mac([0x0a, 0, 0, 0, 0, 1]);
/// Who is behind the other port of the switch.
pub const P2: Mac = Mac([0x0a, 0, 0, 0, 0, 2]);
/// The router, on the switch of these two.
pub const ROUTER: Mac = Mac([0x0a, 0, 0, 0, 0, 0xfe]);

pub fn v4(src: [u8; 4], dst: [u8; 4]) -> IpHeader {
    IpHeader::V4 {
        src: src.into(),
        dst: dst.into(),
    }
}

pub fn v6(src: &str, dst: &str) -> IpHeader {
    IpHeader::V6 {
        src: src.parse().unwrap(),
        dst: dst.parse().unwrap(),
    }
}

/// From `p1` over IPv4.
pub fn near4(dst: [u8; 4]) -> IpHeader {
    v4([10, 0, 0, 1], dst)
}

/// From `p1` over IPv6.
pub fn near6(dst: &str) -> IpHeader {
    v6("fd00::1", dst)
}

pub fn to(dst: Mac, ip: IpHeader) -> Ethernet {
    Ethernet::new(P1, dst, ip.ethertype())
}

pub fn packet(dst: Mac, ip: IpHeader, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    to(dst, ip).frame(&ip.packet(protocol, ttl, payload))
}

pub fn udp(dst: Mac, ip: IpHeader, ttl: u8, payload: &[u8]) -> Vec<u8> {
    transport::udp(&to(dst, ip), ip, ttl, 4000, 9, payload)
}

/// Flags of TCP.
pub const SYN: u8 = 2;
pub const FIN_ACK: u8 = 1 | 16;
pub const PUSH_ACK: u8 = 8 | 16;
pub const SYN_ACK: u8 = 2 | 16;

/// A TCP segment from a port to another.
pub fn segment(
    ip: IpHeader,
    ports: (u16, u16),
    flags: u8,
    (sequence, acknowledged): (u32, u32),
    data: &[u8],
) -> Vec<u8> {
    let mut tcp = Vec::new();
    tcp.extend_from_slice(&ports.0.to_be_bytes());
    tcp.extend_from_slice(&ports.1.to_be_bytes());
    tcp.extend_from_slice(&sequence.to_be_bytes());
    tcp.extend_from_slice(&acknowledged.to_be_bytes());
    tcp.extend_from_slice(&[0x50, flags, 0x20, 0, 0, 0, 0, 0]);
    tcp.extend_from_slice(data);
    let sum = ip.transport_checksum(protocol::TCP, &tcp);
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    tcp
}

/// One of a connection from port 4000 to port 9.
pub fn tcp(dst: Mac, ip: IpHeader, flags: u8, data: &[u8]) -> Vec<u8> {
    let acknowledged = if flags & 16 == 0 { 0 } else { 0x0102_0304 };
    let tcp = segment(ip, (4000, 9), flags, (77, acknowledged), data);
    packet(dst, ip, protocol::TCP, 64, &tcp)
}

pub fn router_solicitation() -> Vec<u8> {
    let ip = v6("fe80::800:ff:fe00:1", "ff02::2");
    let mut body = vec![133, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    body.extend_from_slice(&P1.0);
    let sum = ip.transport_checksum(protocol::ICMPV6, &body);
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    packet(
        Mac([0x33, 0x33, 0, 0, 0, 2]),
        ip,
        protocol::ICMPV6,
        255,
        &body,
    )
}

pub fn dhcp4(kind: u8, more: &[u8]) -> Vec<u8> {
    dhcp4_from([0; 4], kind, more)
}

/// From a machine that says that it has an address.
pub fn dhcp4_from(own: [u8; 4], kind: u8, more: &[u8]) -> Vec<u8> {
    let mut bootp = vec![1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0];
    bootp.extend_from_slice(&own);
    bootp.resize(28, 0);
    bootp.extend_from_slice(&P1.0);
    bootp.resize(236, 0);
    bootp.extend_from_slice(&[0x63, 0x82, 0x53, 0x63, 53, 1, kind]);
    bootp.extend_from_slice(more);
    bootp.extend_from_slice(&[55, 4, 1, 3, 6, 26, 255]);
    let ip = v4(own, [255; 4]);
    transport::udp(&to(Mac([255; 6]), ip), ip, 64, 68, 67, &bootp)
}

pub fn dhcp6(kind: u8, server: bool) -> Vec<u8> {
    let mut message = vec![kind, 1, 2, 3, 0, 1, 0, 10, 0, 3, 0, 1];
    message.extend_from_slice(&P1.0);
    if server {
        message.extend_from_slice(&[0, 2, 0, 10, 0, 3, 0, 1, 0x0a, 0, 0, 0, 0, 0xfd]);
    }
    message.extend_from_slice(&[0, 3, 0, 12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0]);
    message.extend_from_slice(&[0, 6, 0, 2, 0, 23]);
    to_dhcp6_servers(&message)
}

/// From a machine that has an address and wants the rest.
pub fn dhcp6_information() -> Vec<u8> {
    let mut message = vec![11, 1, 2, 3, 0, 1, 0, 10, 0, 3, 0, 1];
    message.extend_from_slice(&P1.0);
    message.extend_from_slice(&[0, 6, 0, 2, 0, 23]);
    to_dhcp6_servers(&message)
}

fn to_dhcp6_servers(message: &[u8]) -> Vec<u8> {
    let ip = v6("fe80::800:ff:fe00:1", "ff02::1:2");
    transport::udp(
        &to(Mac([0x33, 0x33, 0, 1, 0, 2]), ip),
        ip,
        64,
        546,
        547,
        message,
    )
}

pub fn dns(kind: u8, ip: IpHeader) -> Vec<u8> {
    let mut query = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(b"\x03vm1\x03org\0");
    query.extend_from_slice(&[0, kind, 0, 1]);
    transport::udp(&to(ROUTER, ip), ip, 64, 5000, 53, &query)
}

pub fn sctp_init(dst: Mac, ip: IpHeader) -> Vec<u8> {
    let chunk = [1, 0, 0, 20, 1, 2, 3, 4, 0, 1, 0, 0, 0, 1, 0, 1, 5, 6, 7, 8];
    sctp(dst, ip, 0, &chunk)
}

/// A chunk of an association that goes on.
pub fn sctp_heartbeat(dst: Mac, ip: IpHeader) -> Vec<u8> {
    sctp(dst, ip, 9, &[4, 0, 0, 8, 0, 1, 0, 4])
}

fn sctp(dst: Mac, ip: IpHeader, tag: u8, chunk: &[u8]) -> Vec<u8> {
    let mut sctp = vec![0x13, 0x88, 0, 9, tag, tag, tag, tag, 0, 0, 0, 0];
    sctp.extend_from_slice(chunk);
    let sum = weft_packet::crc32c(&sctp).to_le_bytes();
    sctp[8..12].copy_from_slice(&sum);
    packet(dst, ip, protocol::SCTP, 64, &sctp)
}
