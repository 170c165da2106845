//! What of the southbound this chassis needs to see.
//!
//! Unless `ovn-monitor-all` is set: the rows of the datapaths that matter here, and of the others what is needed to find
//! out which datapaths matter (ports that are or could be bound here, patch ports).

use std::collections::BTreeSet;

use serde_json::json;
use weft_ovsdb::model::{Str, Uuid};
use weft_ovsdb::session::{Clause, Conditions, Function, Monitored};
use weft_schemas::{sb, vs};

use crate::core::Core;

/// The tables and columns of the southbound that are used.
pub fn sb_columns() -> Monitored {
    use sb::TableId as T;
    let used = [
        T::SbGlobal,
        T::Chassis,
        T::ChassisPrivate,
        T::Encap,
        T::AddressSet,
        T::PortGroup,
        T::LogicalFlow,
        T::LogicalDpGroup,
        T::MulticastGroup,
        T::Mirror,
        T::Meter,
        T::MeterBand,
        T::DhcpOptions,
        T::Dhcpv6Options,
        T::DatapathBinding,
        T::PortBinding,
        T::MacBinding,
        T::StaticMacBinding,
        T::Fdb,
        T::Bfd,
        T::GatewayChassis,
        T::HaChassis,
        T::HaChassisGroup,
        T::LoadBalancer,
        T::ChassisTemplateVar,
        T::ServiceMonitor,
        T::ControllerEvent,
        T::Dns,
        T::IpMulticast,
        T::IgmpGroup,
    ];
    used.iter()
        .fold(Monitored::none::<sb::Db>(), |monitored, &table| {
            monitored.table(table as u8, !0)
        })
        // Whoever writes these does so all the time, and nobody here reads them.
        .without_columns(T::SbGlobal as u8, sb::sb_global::NB_CFG_TIMESTAMP)
        .without_columns(
            T::ChassisPrivate as u8,
            sb::chassis_private::NB_CFG_TIMESTAMP,
        )
        .without_columns(T::Chassis as u8, sb::chassis::NB_CFG)
        // For people; together as long as what they are about.
        .without_columns(T::LogicalFlow as u8, sb::logical_flow::EXTERNAL_IDS)
        .without_columns(T::PortBinding as u8, sb::port_binding::EXTERNAL_IDS)
}

/// The tables and columns of the Open vSwitch database that are used; statistics change every few seconds.
pub fn vs_columns() -> Monitored {
    use vs::TableId as T;
    let (o, b, p, i) = (
        {
            use vs::open_vswitch as c;
            c::BRIDGES
                | c::EXTERNAL_IDS
                | c::OTHER_CONFIG
                | c::IFACE_TYPES
                | c::DATAPATH_TYPES
                | c::SSL
        },
        {
            use vs::bridge as c;
            c::NAME
                | c::DATAPATH_TYPE
                | c::PORTS
                | c::FAIL_MODE
                | c::MIRRORS
                | c::OTHER_CONFIG
                | c::EXTERNAL_IDS
        },
        {
            use vs::port as c;
            c::NAME | c::INTERFACES | c::QOS | c::EXTERNAL_IDS
        },
        {
            use vs::interface as c;
            c::NAME
                | c::TYPE
                | c::OPTIONS
                | c::EXTERNAL_IDS
                | c::OFPORT
                | c::BFD
                | c::BFD_STATUS
                | c::MTU
                | c::MTU_REQUEST
        },
    );
    Monitored::none::<vs::Db>()
        .table(T::OpenVswitch as u8, o)
        .table(T::Bridge as u8, b)
        .table(T::Port as u8, p)
        .table(T::Interface as u8, i)
        .table(T::Mirror as u8, !vs::mirror::STATISTICS)
        .table(T::Qos as u8, !0)
        .table(T::Queue as u8, !0)
        .table(T::Ssl as u8, !0)
}

/// The `iface-id` of all interfaces here.
pub fn interface_ids(core: &Core) -> BTreeSet<Str> {
    let interfaces = core.inputs.vs.interface.iter();
    interfaces
        .filter_map(|(_, row)| row.external_ids.nonempty("iface-id").cloned())
        .collect()
}

/// The rows needed, as far as is known now, if these are the interfaces here. Seeing them can show that more are needed.
pub fn conditions(core: &Core, ids: &BTreeSet<Str>) -> Conditions {
    let mut all = Conditions::new();
    let Some(me) = core.me() else { return all };
    all.set("Chassis_Private", vec![equal("name", &me.name)]);
    all.set("Chassis_Template_Var", vec![equal("chassis", &me.name)]);
    let own = me.chassis.map(|chassis| Clause::refers("chassis", chassis));
    let own: Vec<Clause> = own.into_iter().collect();
    all.set("Controller_Event", own.clone());
    all.set("IGMP_Group", own);
    if core.config().is_some_and(|config| config.monitor_all) {
        return all;
    }
    let local: Vec<Uuid> = core.local_datapaths().0.iter().copied().collect();
    let of = |column: &'static str| -> Vec<Clause> {
        local.iter().map(|&dp| Clause::refers(column, dp)).collect()
    };
    // Nothing but equalities: ovsdb-server looks those up by hash, but goes through all clauses for every row if one of them
    // is anything else. So gateways of other chassis are asked for as well.
    let mut ports = of("datapath");
    let kinds = [
        "patch",
        "chassisredirect",
        "external",
        "mirror",
        "l2gateway",
        "l3gateway",
    ];
    ports.extend(kinds.map(|kind| equal("type", kind)));
    if let Some(chassis) = me.chassis {
        // Of the additional ones that is where we are the only one; where we are one of several, the interface that makes us
        // so is what shows the row.
        let columns = [
            "chassis",
            "requested_chassis",
            "additional_chassis",
            "requested_additional_chassis",
        ];
        ports.extend(columns.map(|column| Clause::refers(column, chassis)));
    }
    for id in ids {
        ports.extend([equal("logical_port", id), equal("parent_port", id)]);
    }
    all.set("Port_Binding", ports);
    let mut flows = of("logical_datapath");
    flows.push(Clause::new(
        "logical_dp_group",
        Function::NotEqual,
        json!(["set", []]),
    ));
    all.set("Logical_Flow", flows);
    let some = |dp: &Uuid| Clause::new("datapaths", Function::Includes, dp.to_json());
    all.set("DNS", local.iter().map(some).collect());
    // Flows of groups come at once, whatever is local. With the groups they can be compiled while the server looks for the rest.
    if !local.is_empty() {
        all.set("Logical_DP_Group", local.iter().map(some).collect());
    }
    for table in [
        "Multicast_Group",
        "MAC_Binding",
        "Static_MAC_Binding",
        "IP_Multicast",
    ] {
        all.set(table, of("datapath"));
    }
    let keys = local
        .iter()
        .filter_map(|&dp| core.inputs.sb.datapath_binding.get(dp));
    let keys = keys.map(|row| Clause::new("dp_key", Function::Equal, row.tunnel_key));
    all.set("FDB", keys.collect());
    all
}

fn equal(column: &'static str, text: &str) -> Clause {
    Clause::new(column, Function::Equal, text)
}
