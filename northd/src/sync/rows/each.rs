//! Rows that need nothing but what is wanted of them: no other row is looked up.

use weft_ovsdb::model::{Map, Str, Uuid};
use weft_ovsdb::txn::Txn;
use weft_schemas::sb;

use super::write::put;
use crate::features::dhcp::catalog::Known;
use crate::output::{Band, Bfd, Datapath, HaGroup, IpMulticast, Meter, ServiceMonitor};

pub(super) fn datapath_row(want: &Datapath) -> sb::DatapathBinding {
    sb::DatapathBinding {
        tunnel_key: i64::from(want.tunnel_key),
        type_: Some(
            if want.router {
                "logical-router"
            } else {
                "logical-switch"
            }
            .into(),
        ),
        nb_uuid: Some(want.nb),
        external_ids: want.external_ids.clone(),
        ..sb::DatapathBinding::default()
    }
}

pub(super) fn put_ip_multicast(
    txn: &mut Txn,
    db: &sb::Db,
    uuid: Uuid,
    datapath: Uuid,
    want: &IpMulticast,
) {
    let row = sb::IpMulticast {
        datapath,
        enabled: Some(want.enabled),
        querier: Some(want.querier),
        eth_src: want.eth_src.clone(),
        ip4_src: want.ip4_src.clone(),
        ip6_src: want.ip6_src.clone(),
        table_size: Some(want.table_size),
        idle_timeout: Some(want.idle_timeout),
        query_interval: Some(want.query_interval),
        query_max_resp: Some(want.query_max_resp),
        ..sb::IpMulticast::default()
    };
    let mask = sb::ip_multicast::ALL & !sb::ip_multicast::SEQ_NO;
    put(txn, &db.ip_multicast, uuid, &row, mask, 0);
}

pub(super) fn put_monitor(txn: &mut Txn, db: &sb::Db, uuid: Uuid, want: &ServiceMonitor) {
    use sb::service_monitor as column;
    let row = sb::ServiceMonitor {
        type_: Some(want.kind.into()),
        ip: want.ip.clone(),
        mac: want.mac.clone(),
        logical_input_port: want.logical_input_port.clone(),
        port: i64::from(want.port),
        protocol: Some(want.protocol.clone()),
        logical_port: want.logical_port.clone(),
        src_mac: want.src_mac.clone(),
        src_ip: want.src_ip.clone(),
        options: want.options.clone(),
        ..sb::ServiceMonitor::default()
    };
    let mask = column::TYPE
        | column::IP
        | column::MAC
        | column::PORT
        | column::PROTOCOL
        | column::LOGICAL_PORT
        | column::LOGICAL_INPUT_PORT
        | column::SRC_MAC
        | column::SRC_IP
        | column::OPTIONS;
    put(txn, &db.service_monitor, uuid, &row, mask, 0);
}

/// The state is the chassis's to tell, but for whether there is to be a session at all.
pub(super) fn put_bfd(txn: &mut Txn, db: &sb::Db, uuid: Uuid, want: &Bfd) {
    use sb::bfd as column;
    let off = "admin_down";
    let row = sb::Bfd {
        logical_port: want.logical_port.clone(),
        dst_ip: want.dst_ip.clone(),
        src_port: want.src_port,
        disc: discriminator(want.nb),
        min_tx: want.min_tx,
        min_rx: want.min_rx,
        detect_mult: want.detect_mult,
        status: if want.followed { "down" } else { off }.into(),
        ..sb::Bfd::default()
    };
    let mut mask = column::LOGICAL_PORT
        | column::DST_IP
        | column::SRC_PORT
        | column::MIN_TX
        | column::MIN_RX
        | column::DETECT_MULT;
    if let Some(have) = db.bfd.get(uuid)
        && (&*have.status == off) == want.followed
    {
        mask |= column::STATUS;
    }
    put(
        txn,
        &db.bfd,
        uuid,
        &row,
        mask,
        column::DISC | column::STATUS,
    );
}

pub(super) fn put_dhcp_option(txn: &mut Txn, db: &sb::Db, uuid: Uuid, known: &Known) {
    let (name, code, type_) = (known.name.into(), known.code.into(), known.ty.name().into());
    if known.v6 {
        let row = sb::Dhcpv6Options { name, code, type_ };
        put(
            txn,
            &db.dhcpv6_options,
            uuid,
            &row,
            sb::dhcpv6_options::ALL,
            0,
        );
    } else {
        let row = sb::DhcpOptions { name, code, type_ };
        put(txn, &db.dhcp_options, uuid, &row, sb::dhcp_options::ALL, 0);
    }
}

/// Not zero (RFC 5880, 6.8.1); two sessions with one are told apart by their addresses.
fn discriminator(nb: Uuid) -> i64 {
    i64::from(nb.short().max(1))
}

/// Members are rows of their own without a key: kept if all are as wanted, made anew else.
pub(super) fn put_ha_group(txn: &mut Txn, db: &sb::Db, uuid: Uuid, group: &HaGroup) {
    let have = db.ha_chassis_group.get(uuid);
    let mut present: Vec<(Str, Option<Uuid>, i64)> = have
        .iter()
        .flat_map(|g| g.ha_chassis.iter())
        .filter_map(|&member| db.ha_chassis.get(member))
        .map(|m| {
            (
                m.external_ids
                    .get("chassis-name")
                    .cloned()
                    .unwrap_or_default(),
                m.chassis,
                m.priority,
            )
        })
        .collect();
    present.sort_unstable();
    let kept = have.filter(|_| present == group.members);
    let new = || {
        let members = group.members.iter();
        members
            .map(|(name, chassis, priority)| {
                let row = sb::HaChassis {
                    chassis: *chassis,
                    priority: *priority,
                    external_ids: Map::from_iter([("chassis-name".into(), name.clone())]),
                };
                let uuid = Uuid::random();
                txn.insert(&row, sb::ha_chassis::ALL, uuid);
                uuid
            })
            .collect()
    };
    let row = sb::HaChassisGroup {
        name: group.name.clone(),
        ha_chassis: kept.map_or_else(new, |group| group.ha_chassis.clone()),
        ref_chassis: group.referring.clone(),
        ..sb::HaChassisGroup::default()
    };
    put(
        txn,
        &db.ha_chassis_group,
        uuid,
        &row,
        sb::ha_chassis_group::NAME
            | sb::ha_chassis_group::HA_CHASSIS
            | sb::ha_chassis_group::REF_CHASSIS,
        0,
    );
}

/// Bands have no key either: one is as good as another with the same content, and those that fit are kept.
pub(super) fn put_meter(txn: &mut Txn, db: &sb::Db, uuid: Uuid, meter: &Meter) {
    let there = db.meter.get(uuid).into_iter().flat_map(|m| m.bands.iter());
    let mut there: Vec<(Band, Uuid)> = there
        .filter_map(|&band| {
            let row = db.meter_band.get(band)?;
            let content = Band {
                action: row.action.clone(),
                rate: row.rate,
                burst: row.burst_size,
            };
            Some((content, band))
        })
        .collect();
    let bands = meter.bands.iter().map(|want| {
        if let Some(at) = there.iter().position(|(content, _)| content == want) {
            return there.swap_remove(at).1;
        }
        let row = sb::MeterBand {
            action: want.action.clone(),
            rate: want.rate,
            burst_size: want.burst,
        };
        let band = Uuid::random();
        txn.insert(&row, sb::meter_band::ALL, band);
        band
    });
    let row = sb::Meter {
        name: meter.name.clone(),
        unit: meter.unit.clone(),
        bands: bands.collect(),
    };
    put(txn, &db.meter, uuid, &row, sb::meter::ALL, 0);
}
