//! Health checks of switch ports (`Logical_Switch_Port.health_checks`): rows of `Service_Monitor`, and what comes back.
//!
//! Guarantees: each address that a check is about, all of the port's if it names none, has a row; the check's `status` is the
//! worst that chassis say of them, and stays as it is until they have said something of each.

use std::net::IpAddr;

use weft_ovsdb::model::{Map, Str, Uuid};
use weft_schemas::nb;

use super::{Check, Probe};
use crate::address::Mac;
use crate::features::acl::state::SwitchAcls;
use crate::features::global::Global;
use crate::features::port_address::{SwitchPortAddresses, addresses};
use crate::features::router::port::Ports;
use crate::output::Output;
use crate::program::{Cx, Feature, Key, Per};

/// Per switch port.
pub struct PortChecks;

impl Feature for PortChecks {
    const NAME: &'static str = "port_health";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];
    const READS: &'static [&'static str] = &[
        Global::NAME,
        Ports::NAME,
        SwitchAcls::NAME,
        SwitchPortAddresses::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(lsp) = cx.lsp(key.row()) else { return };
        if lsp.health_checks().is_empty() {
            return;
        }
        let Some(switch) = cx.switch_of(key.row()) else {
            return;
        };
        let Some(northd) = cx.value::<Mac>(Global::ID, Key::Global) else {
            return;
        };
        for check in lsp.health_checks().iter() {
            match read(cx, *check, key.row()) {
                Ok(wanted) => made(cx, *check, wanted, (switch, key.row()), *northd),
                Err((column, message)) => {
                    let name = lsp.name();
                    cx.diagnose::<nb::LogicalSwitchPortHealthCheck>(name, *check, column, message);
                }
            }
        }
    }
}

/// What a check asks for.
struct Wanted {
    port: Str,
    probe: Probe,
    source: IpAddr,
    targets: Vec<IpAddr>,
    options: Map<Str, Str>,
}

/// Has it made, and says what came of it.
fn made(cx: &Cx<'_>, row: Uuid, wanted: Wanted, (switch, lsp): (Uuid, Uuid), northd: Mac) {
    let mut statuses = Vec::new();
    for ip in &wanted.targets {
        let check = Check {
            switch,
            lsp,
            port: &wanted.port,
            ip: *ip,
            probe: wanted.probe,
            source: wanted.source,
            kind: "logical-switch-port",
            options: &wanted.options,
        };
        check.make(cx, northd);
        statuses.extend(check.status(cx));
    }
    let all = statuses.len() == wanted.targets.len();
    let worst = statuses.into_iter().max_by_key(|status| badness(status));
    if let Some(worst) = worst.filter(|_| all) {
        cx.emit(Output::PortCheckStatus(row, worst));
    }
}

/// The worse, the greater.
fn badness(status: &str) -> u8 {
    match status {
        "online" => 0,
        "offline" => 1,
        _ => 2,
    }
}

/// What a check is about, or the column that says nothing of use, and why.
fn read(cx: &Cx<'_>, check: Uuid, lsp: Uuid) -> Result<Wanted, (&'static str, String)> {
    let gone = || ("protocol", String::from("there is no such row"));
    let row = cx.port_check(check).ok_or_else(gone)?;
    let name = cx.lsp(lsp).ok_or_else(gone)?.name().clone();
    let port = u16::try_from(*row.port()).unwrap_or(0);
    let probe = match (&**row.protocol(), port) {
        ("icmp", _) => Probe::Icmp,
        ("tcp", 1..) => Probe::Tcp(port),
        ("udp", 1..) => Probe::Udp(port),
        (protocol, _) => {
            return Err(("port", format!("{protocol} needs one: nothing is checked")));
        }
    };
    let text = row.src_ip();
    let source: IpAddr = text.parse().map_err(|_| {
        (
            "src_ip",
            format!("\"{text}\" is no address: nothing is checked"),
        )
    })?;
    let known = addresses(cx, lsp);
    let known = known.iter().flat_map(|known| known.all());
    let known = known.flat_map(|a| {
        let v4 = a.v4.iter().map(|net| IpAddr::from(net.addr()));
        v4.chain(a.v6.iter().map(|net| IpAddr::from(net.addr())))
    });
    let mut targets: Vec<IpAddr> = known
        .filter(|ip| ip.is_ipv4() == source.is_ipv4())
        .collect();
    targets.sort_unstable();
    targets.dedup();
    let only = row.address();
    if !only.is_empty() {
        targets.retain(|ip| only.parse() == Ok(*ip));
    }
    if targets.is_empty() {
        let what = if only.is_empty() { "of its kind" } else { only };
        let message = format!("the port has no address {what} to be checked from {source}");
        return Err(("address", message));
    }
    Ok(Wanted {
        port: name,
        probe,
        source,
        targets,
        options: row.options().clone(),
    })
}

#[cfg(test)]
mod tests {
    use weft_schemas::{nb, sb};

    use crate::output::Output;
    use crate::testing::{Bed, map, set};

    fn statuses(bed: &mut Bed) -> Vec<String> {
        let wanted = bed.wanted().into_iter();
        let statuses = wanted.filter_map(|output| match output {
            Output::PortCheckStatus(_, status) => Some(status.to_string()),
            _ => None,
        });
        statuses.collect()
    }

    fn monitors(bed: &mut Bed) -> Vec<String> {
        let wanted = bed.wanted().into_iter();
        let rows = wanted.filter_map(|output| match output {
            Output::ServiceMonitor(row) => Some(format!(
                "{} {} {} {} from {} {}",
                row.kind, row.protocol, row.ip, row.port, row.src_ip, row.src_mac
            )),
            _ => None,
        });
        let mut rows: Vec<String> = rows.collect();
        rows.sort();
        rows
    }

    fn check(
        protocol: &str,
        src_ip: &str,
        port: i64,
        address: &str,
    ) -> nb::LogicalSwitchPortHealthCheck {
        nb::LogicalSwitchPortHealthCheck {
            protocol: protocol.into(),
            src_ip: src_ip.into(),
            port,
            address: address.into(),
            options: map([("interval", "1")]),
            ..Default::default()
        }
    }

    fn found(ip: &str, status: &str) -> sb::ServiceMonitor {
        sb::ServiceMonitor {
            ip: ip.into(),
            port: 0,
            protocol: Some("icmp".into()),
            logical_port: "p".into(),
            status: Some(status.into()),
            ..Default::default()
        }
    }

    #[test]
    fn the_worst_of_all_addresses_is_the_status() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let port = bed.port(switch, "p", |row| {
            row.addresses = set(["0a:00:00:00:00:01 10.0.0.1 10.0.0.2 fd00::1"])
        });
        let check = bed.insert(check("icmp", "10.0.0.250", 0, ""));
        bed.edit_port(port, |row| {
            row.health_checks = [check].into_iter().collect()
        });
        assert_eq!(
            monitors(&mut bed),
            [
                "logical-switch-port icmp 10.0.0.1 0 from 10.0.0.250 00:00:00:00:00:00",
                "logical-switch-port icmp 10.0.0.2 0 from 10.0.0.250 00:00:00:00:00:00"
            ]
        );
        assert!(
            bed.flows("ls_in_arp_rsp 110")
                .contains("arp.tpa == 10.0.0.250")
        );
        assert!(bed.flows("ls_in_l2_lkup 110").contains("handle_svc_check"));
        let first = bed.insert_sb(found("10.0.0.1", "online"));
        assert_eq!(statuses(&mut bed), [""; 0]);
        bed.insert_sb(found("10.0.0.2", "online"));
        assert_eq!(statuses(&mut bed), ["online"]);
        bed.sb_put(first, found("10.0.0.1", "offline"));
        assert_eq!(statuses(&mut bed), ["offline"]);
    }

    #[test]
    fn a_router_keeps_its_traffic_while_checks_seem_to_come_from_it() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let port = bed.port(switch, "p", |row| {
            row.addresses = set(["0a:00:00:00:00:01 10.0.0.1 fd00::1"])
        });
        bed.router_on(
            switch,
            "r",
            "0a:00:00:00:00:fe",
            &["10.0.0.254/24", "fd00::fe/64"],
        );
        let acl = bed.insert(nb::Acl {
            action: "allow-related".into(),
            direction: "to-lport".into(),
            match_: "tcp".into(),
            ..nb::Acl::default()
        });
        bed.edit_switch(switch, |row| row.acls = [acl].into_iter().collect());
        let checks = [
            bed.insert(check("tcp", "10.0.0.254", 80, "10.0.0.1")),
            bed.insert(check("udp", "fd00::fe", 53, "")),
            bed.insert(check("icmp", "fd00::fe", 0, "")),
        ];
        bed.edit_port(port, |row| row.health_checks = checks.into_iter().collect());
        assert!(
            monitors(&mut bed)
                .iter()
                .all(|row| row.ends_with("0a:00:00:00:00:fe"))
        );
        assert_eq!(bed.flows("ls_in_l2_lkup 110"), "");
        insta::assert_snapshot!(bed.flows("ls_in_external_port 110") + &bed.flows("ip.ttl == 255"));
    }

    #[test]
    fn a_check_of_nothing_is_told() {
        let mut bed = Bed::new();
        let switch = bed.switch("sw");
        let port = bed.port(switch, "p", |row| {
            row.addresses = set(["0a:00:00:00:00:01 10.0.0.1"])
        });
        let checks = [
            bed.insert(check("tcp", "10.0.0.250", 0, "")),
            bed.insert(check("icmp", "bad", 0, "")),
            bed.insert(check("icmp", "fd00::250", 0, "")),
            bed.insert(check("udp", "10.0.0.250", 53, "10.0.0.9")),
        ];
        bed.edit_port(port, |row| row.health_checks = checks.into_iter().collect());
        assert_eq!(monitors(&mut bed), [""; 0]);
        let told = bed.diagnostics();
        for what in [
            "tcp needs one",
            "\"bad\" is no address",
            "of its kind",
            "no address 10.0.0.9",
        ] {
            assert!(told.contains(what), "{told}");
        }
    }
}
