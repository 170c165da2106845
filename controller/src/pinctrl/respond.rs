//! From one packet to its answer.

use weft_openflow::{DecodeError, Message, PacketIn, PacketOut};
use weft_packet::{Frame, Ip, ParseError};

use super::learner::Learned;
use super::waiting::Hop;
use super::{
    acl_log, arp, dhcp_relay, dhcp4, dhcp6, fdb, frag_mtu, icmp, inject, nd_na, nd_ns, nd_ra,
    neighbors, reject, reset, vport,
};
use crate::actions::opcode::Opcode;

/// A packet as a responder gets it.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// What is asked for.
    pub opcode: Opcode,
    /// What came with the opcode.
    pub params: &'a [u8],
    /// The packet with its metadata and, if it is paused, its continuation.
    pub packet: &'a PacketIn,
}

impl<'a> Request<'a> {
    /// The packet taken apart.
    pub(super) fn frame(&self) -> Result<Frame<'a>, ParseError> {
        Frame::parse(&self.packet.packet)
    }

    /// The IP packet taken apart, with the frame it came in.
    pub(super) fn ip(&self) -> Result<(Frame<'a>, Ip<'a>), ParseError> {
        let frame = self.frame()?;
        let ip = Ip::parse(&frame)?;
        Ok((frame, ip))
    }
}

/// What a responder wants done.
#[derive(Debug, Default)]
pub struct Answer {
    /// To the switch, in this order.
    pub send: Vec<Message>,
    /// Something to be told to everybody.
    pub learned: Option<Learned>,
    /// The packet itself, for when the neighbour is known it waits for; all but the neighbour's Ethernet address.
    pub held: Option<(Hop, PacketOut)>,
    /// A line for the operator.
    pub log: Option<String>,
}

impl Answer {
    /// Lets a paused packet go on as it is here.
    pub(super) fn resume(packet: PacketIn) -> Result<Answer, Refusal> {
        let resume = packet.resume().ok_or(Refusal::Params)?;
        Ok(Answer {
            send: vec![Message::Resume(resume)],
            ..Answer::default()
        })
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The packet is not what the action is for.
    #[error("packet dropped: {0}")]
    Packet(#[from] ParseError),
    /// The parameters cannot be read.
    #[error("parameters of the action: {0}")]
    Actions(#[from] DecodeError),
    /// The parameters are too short.
    #[error("parameters of the action are too short")]
    Params,
    /// Hosts must not answer such packets (RFC 1122 section 3.2.2, RFC 4443 section 2.4 e).
    #[error("there is no answer to such a packet")]
    Unanswerable,
    /// The addresses cannot be those of one host.
    #[error("not an address to be learned")]
    NotOneHost,
    /// Too much waits to be written.
    #[error("too much is being learned")]
    Full,
    /// Nobody here does it.
    #[error("no responder: packet not handled")]
    NoResponder,
}

impl Refusal {
    /// Refusals with one name are told together.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Refusal::Packet(_) => "packet",
            Refusal::Actions(_) | Refusal::Params => "parameters",
            Refusal::Unanswerable => "unanswerable",
            Refusal::NotOneHost => "not one host",
            Refusal::Full => "full",
            Refusal::NoResponder => "no responder",
        }
    }

    /// Whether a healthy network brings it about.
    pub(super) fn is_usual(&self) -> bool {
        matches!(
            self,
            Refusal::Packet(_) | Refusal::Unanswerable | Refusal::NotOneHost
        )
    }

    /// What happens to the packet instead: a paused one that nobody answers goes on as if the action had not succeeded.
    pub(super) fn instead(&self, packet: &PacketIn) -> Option<Message> {
        match self {
            Refusal::NoResponder => packet.clone().resume().map(Message::Resume),
            _ => None,
        }
    }
}

/// Answers a packet; depends on nothing else.
///
/// # Errors
/// When there is no answer to it.
pub fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let packet = match request.opcode {
        Opcode::Arp => return arp::respond(request),
        Opcode::NdNs => return nd_ns::respond(request),
        Opcode::PutArp | Opcode::PutNd => return neighbors::respond(request),
        Opcode::Log => return acl_log::respond(request),
        Opcode::PutFdb => return fdb::respond(request),
        Opcode::PutNdRaOpts => return nd_ra::respond(request),
        Opcode::BindVport => return vport::respond(request),
        Opcode::PutIcmp4FragMtu | Opcode::PutIcmp6FragMtu => return frag_mtu::respond(request),
        Opcode::PutDhcpOpts => return dhcp4::respond(request),
        Opcode::DhcpRelayReqChk | Opcode::DhcpRelayRespChk => return dhcp_relay::respond(request),
        Opcode::PutDhcpv6Opts => return dhcp6::respond(request),
        Opcode::NdNa => nd_na::packet(request, false)?,
        Opcode::NdNaRouter => nd_na::packet(request, true)?,
        Opcode::Icmp | Opcode::Icmp4Error | Opcode::Icmp6Error => icmp::packet(request)?,
        Opcode::TcpReset => reset::tcp(request)?,
        Opcode::SctpAbort => reset::sctp(request)?,
        Opcode::Reject => reject::packet(request)?,
        Opcode::DnsLookup
        | Opcode::TriggerEvent
        | Opcode::Igmp
        | Opcode::HandleSvcCheck
        | Opcode::HandleDhcpv6Reply
        | Opcode::ActivationStrategy
        | Opcode::HandleBfdMsg => return Err(Refusal::NoResponder),
    };
    Ok(Answer {
        send: vec![inject::nested(request, packet)?],
        ..Answer::default()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::testing::packet_in;
    use super::*;

    proptest! {
        #[test]
        fn nothing_panics(opcode in 0..Opcode::ALL.len(), params: Vec<u8>, packet: Vec<u8>) {
            let opcode = Opcode::ALL[opcode];
            let packet = packet_in(opcode, &params, &packet);
            let _ = respond(&Request { opcode, params: &params, packet: &packet });
        }
    }

    #[test]
    fn a_paused_packet_goes_on_without_a_responder() {
        let mut packet = packet_in(Opcode::HandleDhcpv6Reply, &[], &[1, 2]);
        let why = respond(&Request {
            opcode: Opcode::HandleDhcpv6Reply,
            params: &[],
            packet: &packet,
        })
        .unwrap_err();
        assert_eq!(why, Refusal::NoResponder);
        assert!(why.instead(&packet).is_none());
        packet.continuation = Some(vec![1]);
        assert!(matches!(why.instead(&packet), Some(Message::Resume(_))));
        assert!(Refusal::Unanswerable.instead(&packet).is_none());
    }
}
