//! Compiling step by step gives what a fresh start gives: random edits of every table that northd reads, in batches, with
//! snapshots in between as after a lost connection, each batch compared with a compilation from scratch.
//!
//! `WEFT_SEED` and `WEFT_EDITS` choose other runs than the fixed ones.
#![allow(clippy::unwrap_used)]

mod balancers;
mod dice;
mod policy;
mod routers;
mod southbound;
mod switches;

use std::sync::Arc;

use weft_northd::address::Mac;
use weft_northd::compiler::Compiler;
use weft_northd::program::{Fact, Settings};
use weft_ovsdb::model::{Row, RowUpdate, Table};
use weft_ovsdb::testing::Coverage;
use weft_schemas::{nb, sb};

use dice::{BOOLS, Dice, MACS, NUMBERS};

/// Random rows of a table.
trait Random: Row {
    fn random(dice: &mut Dice) -> Self;
}

impl Random for nb::NbGlobal {
    fn random(d: &mut Dice) -> Self {
        nb::NbGlobal {
            nb_cfg: d.below(4) as i64,
            ipsec: d.chance(30),
            options: d.map(
                &[
                    ("mac_prefix", &["aa:bb:cc", "02:00:00", "bad"]),
                    ("svc_monitor_mac", MACS),
                    ("svc_monitor_ip", &["10.0.0.1"]),
                    ("svc_monitor_ip_dst", &["10.0.0.1", "10.0.1.7"]),
                    ("svc_monitor_mac_dst", MACS),
                    ("default_acl_drop", BOOLS),
                    ("max_tunid", NUMBERS),
                    ("use_ct_inv_match", BOOLS),
                    ("use_common_zone", BOOLS),
                    ("controller_event", BOOLS),
                    ("ignore_lsp_down", BOOLS),
                    ("debug_drop_collector_set", &["7", "7", "x"]),
                    ("debug_drop_domain_id", &["3", "4", "300"]),
                    ("mac_binding_removal_limit", NUMBERS),
                    ("fdb_removal_limit", NUMBERS),
                ],
                40,
            ),
            ..Default::default()
        }
    }
}

/// An edit of some row of a table: a new row, another value in one column, or no row.
fn edit<R: Random>(d: &mut Dice, table: &Table<R>) -> RowUpdate<R> {
    let uuid = d.any::<R>();
    let fresh = R::random(d);
    match table.get(uuid) {
        None => RowUpdate::insert(uuid, fresh),
        Some(_) if d.chance(25) => RowUpdate::delete(uuid),
        Some(_) => {
            let column = d.below(R::COLUMNS.len() as u64);
            RowUpdate::replace(uuid, fresh, 1 << column)
        }
    }
}

macro_rules! databases {
    ($($db:ident $each:ident $snapshot:ident $drawn:ident { $($weight:literal $row:ident $module:ident)* })*) => {
        $(
            /// A random edit of the database.
            fn $each(d: &mut Dice, db: &$db::Db) -> $db::Update {
                let all: u64 = 0 $(+ $weight)*;
                let mut at = d.below(all);
                $(
                    if at < $weight {
                        return edit::<$db::$row>(d, &db.$module).into();
                    }
                    at -= $weight;
                )*
                unreachable!("{at}")
            }

            /// What random rows of the database have several values of.
            fn $drawn(d: &mut Dice, seen: &mut Coverage<$db::Db>) {
                $(
                    let rows: Vec<$db::$row> = (0..200).map(|_| Random::random(d)).collect();
                    seen.drawn(&rows);
                )*
            }

            /// The database as a snapshot, after random edits that nobody saw.
            fn $snapshot(d: &mut Dice, db: &$db::Db) -> Vec<$db::Update> {
                use weft_ovsdb::model::Database;
                let mut copy = db.clone();
                for _ in 0..d.below(6) {
                    let update = $each(d, &copy);
                    copy.apply(update);
                }
                let mut all: Vec<$db::Update> = Vec::new();
                $(
                    for uuid in copy.$module.uuids() {
                        let row: Arc<$db::$row> = copy.$module.get_arc(uuid).unwrap().clone();
                        all.push(RowUpdate::insert(uuid, (*row).clone()).into());
                    }
                )*
                all
            }
        )*
    };
}

databases! {
    nb nb_edit nb_snapshot nb_drawn {
        2 NbGlobal nb_global
        10 LogicalSwitch logical_switch
        24 LogicalSwitchPort logical_switch_port
        8 LogicalRouter logical_router
        12 LogicalRouterPort logical_router_port
        6 LogicalRouterStaticRoute logical_router_static_route
        5 LogicalRouterPolicy logical_router_policy
        2 Bfd bfd
        4 Nat nat
        3 Acl acl
        3 NetworkFunction network_function
        3 NetworkFunctionGroup network_function_group
        1 NetworkFunctionHealthCheck network_function_health_check
        3 Qos qos
        4 Mirror mirror
        2 MirrorRule mirror_rule
        2 ForwardingGroup forwarding_group
        3 AddressSet address_set
        4 PortGroup port_group
        3 GatewayChassis gateway_chassis
        2 HaChassisGroup ha_chassis_group
        2 HaChassis ha_chassis
        2 StaticMacBinding static_mac_binding
        8 LoadBalancer load_balancer
        4 LoadBalancerGroup load_balancer_group
        3 LoadBalancerHealthCheck load_balancer_health_check
        3 LogicalSwitchPortHealthCheck logical_switch_port_health_check
        2 ChassisTemplateVar chassis_template_var
        3 Dns dns
        6 DhcpOptions dhcp_options
        2 DhcpRelay dhcp_relay
        3 Meter meter
        2 MeterBand meter_band
        3 Copp copp
        2 Sample sample
        2 SampleCollector sample_collector
        2 SamplingApp sampling_app
    }
    sb sb_edit sb_snapshot sb_drawn {
        3 Chassis chassis
        2 Encap encap
        4 PortBinding port_binding
        2 DatapathBinding datapath_binding
        3 MacBinding mac_binding
        2 Bfd bfd
        3 Fdb fdb
        3 ServiceMonitor service_monitor
        6 IgmpGroup igmp_group
        1 MulticastGroup multicast_group
    }
}

fn settings() -> Settings {
    Settings {
        version: "test".to_owned(),
        mac_prefix: [2, 0, 1],
        svc_monitor_mac: Mac([2, 0, 0, 0, 0, 9]),
    }
}

/// What northd has read, and what edits change.
#[derive(Default)]
struct Seen {
    nb: Coverage<nb::Db>,
    sb: Coverage<sb::Db>,
}

impl Seen {
    fn look(&mut self, compiler: &Compiler) {
        for (fact, columns) in compiler.engine().facts() {
            match fact {
                Fact::Nb(table, _) => self.nb.read(table, columns),
                Fact::Sb(table, _) => self.sb.read(table, columns),
                _ => {}
            }
        }
    }
}

/// Runs edits from a seed; every batch ends in an audit.
fn run(seed: u64, edits: u64, seen: &mut Seen) {
    let d = &mut Dice(seed);
    let mut compiler = Compiler::new(settings()).unwrap();
    let mut done = 0;
    let mut log: Vec<String> = Vec::new();
    while done < edits {
        log.clear();
        if d.chance(4) {
            let snapshot = nb_snapshot(d, &compiler.inputs().nb);
            compiler.nb_snapshot(snapshot);
            log.push("northbound snapshot".to_owned());
        }
        if d.chance(4) {
            let snapshot = sb_snapshot(d, &compiler.inputs().sb);
            compiler.sb_snapshot(snapshot);
            log.push("southbound snapshot".to_owned());
        }
        for _ in 0..1 + d.below(4) {
            done += 1;
            if d.chance(80) {
                let update = nb_edit(d, &compiler.inputs().nb);
                log.push(format!("{update:?}"));
                compiler.nb_update(update);
            } else {
                let update = sb_edit(d, &compiler.inputs().sb);
                log.push(format!("{update:?}"));
                compiler.sb_update(update);
            }
        }
        let delta = compiler.run();
        assert!(
            !delta.stalled,
            "seed {seed}, edit {done}: units kept waking each other after {log:#?}"
        );
        seen.look(&compiler);
        let differences = compiler.audit().unwrap();
        assert!(
            differences.is_empty(),
            "seed {seed}, edit {done}: {} differences, first of them {:#?}\nafter {log:#?}",
            differences.len(),
            &differences[..differences.len().min(5)]
        );
    }
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

#[test]
fn steps_end_where_a_fresh_start_does() {
    let seen = &mut Seen::default();
    if let Some(seed) = number("WEFT_SEED") {
        return run(seed, number("WEFT_EDITS").unwrap_or(2_500), seen);
    }
    for seed in 1..=5 {
        run(seed, 500, seen);
    }
    let d = &mut Dice(1);
    nb_drawn(d, &mut seen.nb);
    sb_drawn(d, &mut seen.sb);
    let missing = [seen.nb.missing(), seen.sb.missing()].concat();
    assert!(missing.is_empty(), "read but never changed: {missing:?}");
}

#[test]
fn a_seed_nobody_chose() {
    run(weft_engine::testing::seed(), 400, &mut Seen::default());
}
