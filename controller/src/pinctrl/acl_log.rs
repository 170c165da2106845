//! `log(...)`: a line about a packet that an ACL matched.
//!
//! ```text
//! name="web", verdict=drop, severity=info, direction=to-lport: tcp,vlan_tci=0x0000,dl_src=...
//! ```
//!
//! The line is logged under the module `acl_log`, at INFO whatever the severity: so programs that follow it find it.

use super::flow_text;
use super::respond::{Answer, Refusal, Request};
use crate::actions::{LOG_SEVERITIES, LOG_VERDICTS};
use crate::tables;

pub(super) fn respond(request: &Request<'_>) -> Result<Answer, Refusal> {
    let (&[verdict, severity], name) = request
        .params
        .split_first_chunk::<2>()
        .ok_or(Refusal::Params)?;
    let word = |words: &'static [&'static str], number: u8| {
        words
            .get(usize::from(number))
            .copied()
            .unwrap_or("<unknown>")
    };
    let name = match name {
        [] => "<unnamed>".into(),
        name => String::from_utf8_lossy(name),
    };
    let direction = match request.packet.table {
        tables::LOG_EGRESS.. => "to-lport",
        _ => "from-lport",
    };
    let line = format!(
        "name=\"{name}\", verdict={}, severity={}, direction={direction}: {}",
        word(&LOG_VERDICTS, verdict),
        word(&LOG_SEVERITIES, severity),
        flow_text::describe(&request.packet.packet)
    );
    Ok(Answer {
        log: Some(line),
        ..Answer::default()
    })
}

#[cfg(test)]
mod tests {
    use super::super::testing::{hex, packet_in};
    use super::*;
    use crate::actions::opcode::Opcode;

    fn line(table: u8, params: &[u8]) -> Result<String, Refusal> {
        let syn = hex("0a0000000002 0a0000000001 0800
            4500 0028 0007 4000 4006 0000 0a000001 0a000002
            04d2 0050 00000001 00000000 5002 0064 0000 0000");
        let mut packet = packet_in(Opcode::Log, params, &syn);
        packet.table = table;
        let answer = respond(&Request {
            opcode: Opcode::Log,
            params,
            packet: &packet,
        })?;
        Ok(answer.log.unwrap())
    }

    #[test]
    fn lines() {
        let packet = "tcp,vlan_tci=0x0000,dl_src=0a:00:00:00:00:01,dl_dst=0a:00:00:00:00:02,nw_src=10.0.0.1,\
             nw_dst=10.0.0.2,nw_tos=0,nw_ecn=0,nw_ttl=64,nw_frag=no,tp_src=1234,tp_dst=80,tcp_flags=syn";
        assert_eq!(
            line(16, b"\x00\x03web").unwrap(),
            format!("name=\"web\", verdict=allow, severity=info, direction=from-lport: {packet}")
        );
        assert_eq!(
            line(46, b"\x02\x00").unwrap(),
            format!(
                "name=\"<unnamed>\", verdict=reject, severity=alert, direction=to-lport: {packet}"
            )
        );
        assert!(line(46, b"\xff\x09").unwrap().starts_with(
            "name=\"<unnamed>\", verdict=<unknown>, severity=<unknown>, direction=to-lport: tcp,"
        ));
        assert_eq!(line(46, b"\x02"), Err(Refusal::Params));
    }
}
