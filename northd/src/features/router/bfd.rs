//! BFD sessions of router ports (RFC 5880, 5881): rows for the chassis, what they say of the state, and the flows that
//! bring the packets to them.
//!
//! Guarantees: a session that no route or policy follows is kept down administratively; one that is followed is up only
//! while a chassis says so. A session of a port that is not there, or to an address that is none, is told and has no row.

use std::net::IpAddr;
use std::sync::Arc;

use weft_lang::action::CallName;
use weft_lang::{Action, Expr, field};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::port;
use crate::index::{ById, ByName, bfd_name};
use crate::ledger::{Ledgers, Space, changed_hands, number_fact};
use crate::output::{Bfd, Output};
use crate::pipeline::Stage;
use crate::program::{Allocator, Cx, Fact, Feature, Key, Per};

/// Destination port of control packets (RFC 5881, 4).
const CONTROL_PORT: u16 = 3784;
/// Where their source ports are from (RFC 5881, 4).
pub const SOURCE_PORTS: (u32, u32) = (49152, 65535);
/// Intervals of a session that says nothing, in milliseconds.
const INTERVAL_MS: i64 = 1000;
/// Packets that may be missed, of a session that says nothing.
const DETECT_MULT: i64 = 5;

/// Matches control packets.
pub fn is_control() -> Expr {
    field::UDP_DST.eq(CONTROL_PORT)
}

/// Whether any session is of this port.
pub fn has_sessions(cx: &Cx<'_>, port: &str) -> bool {
    !cx.by_name(ByName::BfdOf, port).is_empty()
}

/// The state of a session, published by [`Sessions`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Session {
    /// Traffic may go there.
    pub up: bool,
    /// Whose reachability it is about.
    pub peer: IpAddr,
    /// Through which port.
    pub port: Str,
}

/// A session, if it can be used.
pub fn session(cx: &Cx<'_>, uuid: Uuid) -> Option<Arc<Session>> {
    cx.value(Sessions::ID, Key::Row(uuid))
}

/// Traffic may follow the session.
pub fn is_up(cx: &Cx<'_>, uuid: Uuid) -> bool {
    session(cx, uuid).is_some_and(|session| session.up)
}

/// Publishes the UDP source port of each session, as `u32`.
pub struct SourcePorts;

impl Allocator for SourcePorts {
    const NAME: &'static str = "bfd_source_port";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Bfd)];

    fn run(cx: &Cx<'_>, ledgers: &mut Ledgers, key: Key) {
        let given = ledgers.bfd_ports.assign(key, None, SOURCE_PORTS, &mut |n| {
            changed_hands(Space::BfdPorts, n, |fact| cx.wake(fact));
        });
        match given.number {
            Some(number) => {
                cx.track(number_fact(Space::BfdPorts, number));
                cx.publish(number);
            }
            None => cx.track(number_fact(Space::BfdPorts, 0)),
        }
    }

    fn gone(ledgers: &mut Ledgers, key: Key, wake: &mut dyn FnMut(Fact, u64)) {
        ledgers.bfd_ports.let_go(key, &mut |n| {
            changed_hands(Space::BfdPorts, n, |fact| wake(fact, 1));
        });
    }
}

/// Per session: its row and its state.
pub struct Sessions;

impl Feature for Sessions {
    const NAME: &'static str = "bfd";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::Bfd)];
    const READS: &'static [&'static str] = &[port::Ports::NAME, SourcePorts::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(row) = cx.bfd(uuid) else { return };
        let name = format!("{} to {}", row.logical_port(), row.dst_ip());
        let complain = |column, message: String| {
            cx.diagnose::<nb::Bfd>(&name, uuid, column, message);
        };
        let Some(port) = cx
            .lrp_named(row.logical_port())
            .and_then(|lrp| port::port(cx, lrp))
        else {
            let text = row.logical_port();
            complain(
                "logical_port",
                format!("no router has a port named \"{text}\": there is no session"),
            );
            return;
        };
        let Ok(peer) = row.dst_ip().parse::<IpAddr>() else {
            let text = row.dst_ip();
            complain(
                "dst_ip",
                format!("\"{text}\" is not an IP address: there is no session"),
            );
            return;
        };
        if peer.is_ipv4() && port.v4.is_empty() {
            complain(
                "dst_ip",
                format!(
                    "port \"{}\" has no IPv4 address: there is no session",
                    port.name
                ),
            );
            return;
        }
        let Some(src_port) = cx.value::<u32>(SourcePorts::ID, key) else {
            complain(
                "logical_port",
                "all source ports are taken: there is no session".to_owned(),
            );
            return;
        };
        let followed = !cx.by_id(ById::RoutesOfBfd, uuid).is_empty()
            || !cx.by_id(ById::PoliciesOfBfd, uuid).is_empty();
        cx.emit(Output::Bfd(Arc::new(Bfd {
            nb: uuid,
            logical_port: port.name.clone(),
            dst_ip: row.dst_ip().clone(),
            src_port: i64::from(*src_port),
            min_tx: row.min_tx().unwrap_or(INTERVAL_MS),
            min_rx: row.min_rx().unwrap_or(INTERVAL_MS),
            detect_mult: row.detect_mult().unwrap_or(DETECT_MULT),
            followed,
        })));
        let told = cx
            .by_name(ByName::SbBfd, &bfd_name(&port.name, row.dst_ip()))
            .first();
        let status: Str = match told.and_then(|row| cx.sb_bfd(*row)) {
            _ if !followed => "admin_down".into(),
            Some(told) if &**told.status() != "admin_down" => told.status().clone(),
            _ => "down".into(),
        };
        cx.publish(Session {
            up: &*status == "up",
            peer,
            port: port.name.clone(),
        });
        cx.emit(Output::BfdStatus(uuid, status));
    }
}

/// Per router port with sessions: control packets for it go to the controller, its own are not taken for forged ones.
pub struct Input;

impl Feature for Input {
    const NAME: &'static str = "bfd_input";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalRouterPort)];
    const READS: &'static [&'static str] = &[port::Ports::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(port) = port::port(cx, key.row()) else {
            return;
        };
        if !has_sessions(cx, &port.name) {
            return;
        }
        let flow = |address: Expr, actions: Vec<Action>| {
            let match_ = Expr::all([address, is_control()]);
            port.flow(cx, Stage::LrInIpInput, 110, match_, actions);
        };
        let handle = || vec![Action::call(CallName::HandleBfdMsg, [])];
        if !port.v4.is_empty() {
            let own = || port.v4.iter().map(|net| net.addr());
            flow(field::IP4_DST.one_of(own()), handle());
            flow(field::IP4_SRC.one_of(own()), vec![Action::NEXT]);
        }
        flow(field::IP6_DST.one_of(port.addresses_v6()), handle());
        flow(
            field::IP6_SRC.one_of(port.addresses_v6()),
            vec![Action::NEXT],
        );
    }
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Uuid;
    use weft_schemas::{nb, sb};

    use crate::testing::Bed;

    fn bed() -> (Bed, Uuid) {
        let mut bed = Bed::new();
        let red = bed.switch("red");
        bed.router_on(
            red,
            "r",
            "0a:00:00:00:ff:01",
            &["10.0.0.1/24", "fd00::1/64"],
        );
        let session = bed.insert(nb::Bfd {
            logical_port: "r-red".into(),
            dst_ip: "10.0.0.2".into(),
            ..nb::Bfd::default()
        });
        (bed, session)
    }

    fn told(bed: &mut Bed, status: &str) {
        bed.insert_sb(sb::Bfd {
            logical_port: "r-red".into(),
            dst_ip: "10.0.0.2".into(),
            status: status.into(),
            ..sb::Bfd::default()
        });
    }

    #[test]
    fn packets_of_sessions_reach_the_controller_and_leave_with_their_hop_limit() {
        let (mut bed, session) = bed();
        insta::assert_snapshot!(bed.all_flows("3784"));
        bed.remove::<nb::Bfd>(session);
        assert_eq!(bed.all_flows("3784"), "");
    }

    #[test]
    fn a_route_is_there_while_its_session_is_up() {
        let (mut bed, session) = bed();
        bed.route("r", "20.0.0.0/8", "10.0.0.2", |route| {
            route.bfd = Some(session)
        });
        bed.route("r", "20.0.0.0/8", "10.0.0.3", |_| ());
        let flows = bed.all_flows("20.0.0.0/8");
        assert!(
            flows.contains("reg0 = 10.0.0.3") && !flows.contains("select"),
            "{flows}"
        );
        told(&mut bed, "up");
        let flows = bed.all_flows("20.0.0.0/8");
        assert!(flows.contains("select(1, 2)"), "{flows}");
        assert_eq!(bed.diagnostics(), "");
    }

    #[test]
    fn sessions_that_cannot_be_are_told() {
        let (mut bed, _) = bed();
        for (port, peer) in [("gone", "10.0.0.3"), ("r-red", "tea")] {
            bed.insert(nb::Bfd {
                logical_port: port.into(),
                dst_ip: peer.into(),
                ..nb::Bfd::default()
            });
        }
        let said = bed.diagnostics();
        assert!(
            said.contains("\"gone\"") && said.contains("\"tea\""),
            "{said}"
        );
        assert_eq!(said.lines().count(), 2, "{said}");
    }
}
