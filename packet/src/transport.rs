//! UDP datagrams, TCP resets, SCTP aborts.

use std::net::Ipv4Addr;

use etherparse::{TcpHeader, UdpHeader};

use crate::{
    Ethernet, Frame, Ip, IpHeader, ParseError, array, crc32c, internet_checksum, protocol,
};

/// A frame with a UDP datagram. The payload must be shorter than 65,000 bytes; a longer one is cut.
#[must_use]
pub fn udp(
    ethernet: &Ethernet,
    ip: IpHeader,
    ttl: u8,
    src_port: u16,
    dst_port: u16,
    payload: &[u8],
) -> Vec<u8> {
    let payload = &payload[..payload.len().min(64_900)];
    #[allow(clippy::cast_possible_truncation)] // Cut above.
    let header = UdpHeader {
        source_port: src_port,
        destination_port: dst_port,
        length: 8 + payload.len() as u16,
        checksum: 0,
    };
    let mut segment = header.to_bytes().to_vec();
    segment.extend_from_slice(payload);
    // A sum of zero is sent as all ones: zero means there is none (RFC 768).
    let sum = match ip.transport_checksum(protocol::UDP, &segment) {
        0 => u16::MAX,
        sum => sum,
    };
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    frame(ethernet, ip, ttl, protocol::UDP, &segment)
}

/// The payload of a whole UDP datagram.
///
/// # Errors
/// When it is none, or a part of one.
pub fn udp_payload<'a>(ip: &Ip<'a>) -> Result<&'a [u8], ParseError> {
    if ip.protocol != protocol::UDP || ip.later_fragment {
        return Err(ParseError::Other("UDP"));
    }
    let len = u16::from_be_bytes(array(ip.payload, 4, "UDP")?);
    ip.payload
        .get(8..len.into())
        .ok_or(ParseError::Short("UDP"))
}

/// The frame with another payload in its UDP datagram; all headers stay as they are but for lengths and checksums. The
/// payload must be shorter than 60,000 bytes; a longer one is cut.
///
/// # Errors
/// When it carries no whole UDP datagram.
pub fn with_udp_payload(bytes: &[u8], payload: &[u8]) -> Result<Vec<u8>, ParseError> {
    let payload = &payload[..payload.len().min(60_000)];
    let frame = Frame::parse(bytes)?;
    let ip = Ip::parse(&frame)?;
    udp_payload(&ip)?;
    let ethernet_len = bytes.len() - frame.payload.len();
    let headers_len = ip.packet.len() - ip.payload.len();
    let mut segment = ip.payload[..8].to_vec();
    segment.extend_from_slice(payload);
    #[allow(clippy::cast_possible_truncation)]
    // Cut above; headers have some hundred bytes at most.
    let (segment_len, packet_len) = (segment.len() as u16, (headers_len + segment.len()) as u16);
    segment[4..6].copy_from_slice(&segment_len.to_be_bytes());
    segment[6..8].fill(0);
    let sum = match ip.header.transport_checksum(protocol::UDP, &segment) {
        0 => u16::MAX,
        sum => sum,
    };
    segment[6..8].copy_from_slice(&sum.to_be_bytes());
    let mut out = bytes[..ethernet_len + headers_len].to_vec();
    let header = &mut out[ethernet_len..];
    match ip.header {
        IpHeader::V4 { .. } => {
            header[2..4].copy_from_slice(&packet_len.to_be_bytes());
            header[10..12].fill(0);
            let sum = internet_checksum(&[header]);
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        IpHeader::V6 { .. } => header[4..6].copy_from_slice(&(packet_len - 40).to_be_bytes()),
    }
    out.append(&mut segment);
    Ok(out)
}

/// [`with_udp_payload`] over IPv4 with another destination. The datagram has no checksum, as it need not have one there.
///
/// # Errors
/// When it carries no whole UDP datagram over IPv4.
pub fn with_udp_payload_to(
    bytes: &[u8],
    dst: Ipv4Addr,
    payload: &[u8],
) -> Result<Vec<u8>, ParseError> {
    let mut out = with_udp_payload(bytes, payload)?;
    let frame = Frame::parse(&out)?;
    let ip = Ip::parse(&frame)?;
    let IpHeader::V4 { .. } = ip.header else {
        return Err(ParseError::Other("IPv4"));
    };
    let ip_at = out.len() - frame.payload.len();
    let udp_at = ip_at + ip.packet.len() - ip.payload.len();
    out[udp_at + 6..udp_at + 8].fill(0);
    let header = &mut out[ip_at..udp_at];
    header[16..20].copy_from_slice(&dst.octets());
    header[10..12].fill(0);
    let sum = internet_checksum(&[header]);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    Ok(out)
}

fn frame(ethernet: &Ethernet, ip: IpHeader, ttl: u8, protocol: u8, segment: &[u8]) -> Vec<u8> {
    let mut ethernet = ethernet.clone();
    ethernet.ethertype = ip.ethertype();
    ethernet.frame(&ip.packet(protocol, ttl, segment))
}

/// A frame that resets a TCP connection (RFC 9293, section 3.5.2), with exactly these headers and the ports of
/// `offending` exchanged: with the sequence number the other side expects if its segment acknowledges something, else
/// acknowledging the segment.
///
/// # Errors
/// When what offends is no TCP segment, or itself a reset.
pub fn tcp_reset(
    ethernet: &Ethernet,
    ip: IpHeader,
    ttl: u8,
    offending: &Ip<'_>,
) -> Result<Vec<u8>, ParseError> {
    if offending.protocol != protocol::TCP || offending.later_fragment {
        return Err(ParseError::Other("TCP"));
    }
    let (seen, data) =
        TcpHeader::from_slice(offending.payload).map_err(|_| ParseError::Malformed("TCP"))?;
    if seen.rst {
        return Err(ParseError::Other("a TCP segment to reset"));
    }
    let mut tcp = TcpHeader::new(seen.destination_port, seen.source_port, 0, 0);
    tcp.rst = true;
    if seen.ack {
        tcp.sequence_number = seen.acknowledgment_number;
    } else {
        #[allow(clippy::cast_possible_truncation)] // Data fits in a packet.
        let len = data.len() as u32 + u32::from(seen.syn) + u32::from(seen.fin);
        tcp.ack = true;
        tcp.acknowledgment_number = seen.sequence_number.wrapping_add(len);
    }
    let mut segment = tcp.to_bytes().to_vec();
    let sum = ip.transport_checksum(protocol::TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    Ok(frame(ethernet, ip, ttl, protocol::TCP, &segment))
}

const INIT: u8 = 1;
const ABORT: u8 = 6;
const COOKIE_ACK: u8 = 11;
const SHUTDOWN_COMPLETE: u8 = 14;

/// A frame that aborts an SCTP association (RFC 9260, section 8.4), with exactly these headers and the ports of
/// `offending` exchanged: to an INIT with the tag it asks for, to anything else with its own tag reflected and the T bit
/// set.
///
/// # Errors
/// When what offends is no SCTP packet, or one to which there is no answer: an abort, the end of a shutdown or of a
/// handshake.
pub fn sctp_abort(
    ethernet: &Ethernet,
    ip: IpHeader,
    ttl: u8,
    offending: &Ip<'_>,
) -> Result<Vec<u8>, ParseError> {
    const WHAT: &str = "SCTP";
    if offending.protocol != protocol::SCTP || offending.later_fragment {
        return Err(ParseError::Other(WHAT));
    }
    let seen = offending.payload;
    let (src_port, dst_port) = (array::<2>(seen, 0, WHAT)?, array::<2>(seen, 2, WHAT)?);
    if !has_answer(seen)? {
        return Err(ParseError::Other("an SCTP packet to abort"));
    }
    let (tag, reflected) = match array::<4>(seen, 12, WHAT)?[0] {
        INIT => (array::<4>(seen, 16, WHAT)?, 0),
        _ => (array::<4>(seen, 4, WHAT)?, 1),
    };
    let mut sctp = Vec::with_capacity(16);
    sctp.extend_from_slice(&dst_port);
    sctp.extend_from_slice(&src_port);
    sctp.extend_from_slice(&tag);
    sctp.extend_from_slice(&[0; 4]);
    sctp.extend_from_slice(&[ABORT, reflected, 0, 4]);
    // The checksum goes out with its lowest byte first (RFC 9260, appendix A).
    let sum = crc32c(&sctp).to_le_bytes();
    sctp[8..12].copy_from_slice(&sum);
    Ok(frame(ethernet, ip, ttl, protocol::SCTP, &sctp))
}

/// Whether none of the chunks forbids an answer. Chunks cut off are not looked at.
fn has_answer(sctp: &[u8]) -> Result<bool, ParseError> {
    let mut at = 12;
    while at + 4 <= sctp.len() {
        if matches!(sctp[at], ABORT | COOKIE_ACK | SHUTDOWN_COMPLETE) {
            return Ok(false);
        }
        let len = usize::from(u16::from_be_bytes([sctp[at + 2], sctp[at + 3]]));
        if len < 4 {
            return Err(ParseError::Malformed("SCTP chunk"));
        }
        at += len.next_multiple_of(4);
    }
    Ok(true)
}

/// A frame with the first segment of a TCP connection (RFC 9293, section 3.5).
#[must_use]
pub fn tcp_syn(
    ethernet: &Ethernet,
    ip: IpHeader,
    ttl: u8,
    src_port: u16,
    dst_port: u16,
    sequence: u32,
) -> Vec<u8> {
    let mut tcp = TcpHeader::new(src_port, dst_port, sequence, 65_160);
    tcp.syn = true;
    let mut segment = tcp.to_bytes().to_vec();
    let sum = ip.transport_checksum(protocol::TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    frame(ethernet, ip, ttl, protocol::TCP, &segment)
}
