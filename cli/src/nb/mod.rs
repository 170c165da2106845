//! `weft-nbctl`: commands over the Northbound database.

mod acl;
mod balancer;
mod function;
mod group;
mod ha;
mod mirror;
mod misc;
mod nat;
mod policy;
mod port;
mod ports;
mod references;
mod route;
mod router;
mod router_port;
mod show;
mod switch;

use crate::command::{Command, Cx, Group, Tool};
use crate::error::Error;
use crate::records::RecordId::{self, Column, Key, Only, Via};
use crate::{common, generic};

/// The tool.
pub static TOOL: Tool = Tool {
    weft: "weft-nbctl",
    ovn: "ovn-nbctl",
    about: "Northbound database management utility",
    database: "OVN_Northbound",
    default_db: weft_daemon::dirs::default_nb_db,
    groups: GROUPS,
    records: RECORDS,
    global: "NB_Global",
    waits: true,
};

const GROUPS: &[Group] = &[
    Group {
        title: "General commands",
        commands: GENERAL,
    },
    Group {
        title: "Logical switch commands",
        commands: switch::COMMANDS,
    },
    Group {
        title: "Logical switch port commands",
        commands: port::COMMANDS,
    },
    Group {
        title: "Logical router commands",
        commands: router::COMMANDS,
    },
    Group {
        title: "Logical router port commands",
        commands: router_port::COMMANDS,
    },
    Group {
        title: "Route commands",
        commands: route::COMMANDS,
    },
    Group {
        title: "Policy commands",
        commands: policy::COMMANDS,
    },
    Group {
        title: "NAT commands",
        commands: nat::COMMANDS,
    },
    Group {
        title: "Load balancer commands",
        commands: balancer::COMMANDS,
    },
    Group {
        title: "ACL commands",
        commands: acl::COMMANDS,
    },
    Group {
        title: "Port group commands",
        commands: group::COMMANDS,
    },
    Group {
        title: "Mirror, control plane and forwarding group commands",
        commands: mirror::COMMANDS,
    },
    Group {
        title: "Network function commands",
        commands: function::COMMANDS,
    },
    Group {
        title: "HA chassis group and MAC binding commands",
        commands: ha::COMMANDS,
    },
    Group {
        title: "QoS, meter and DHCP commands",
        commands: misc::COMMANDS,
    },
    Group {
        title: "Connection commands",
        commands: common::CONNECTION,
    },
    Group {
        title: "SSL commands",
        commands: common::SSL,
    },
    Group {
        title: "Database commands",
        commands: generic::COMMANDS,
    },
];

const GENERAL: &[Command] = &[
    // The row for the whole is made before any command runs, so there is nothing left to do.
    Command::new(
        "init",
        (0, 0),
        "",
        &[],
        &[],
        "initialize the database",
        |_| Ok(()),
    ),
    Command::new(
        "show",
        (0, 1),
        "[SWITCH | ROUTER]",
        &[],
        show::TABLES,
        "print overview of database contents",
        show::show,
    ),
    Command::new(
        "sync",
        (0, 0),
        "",
        &[],
        &[],
        "wait even for earlier changes to take effect (with --wait=sb|hv)",
        |_: &mut Cx<'_>| -> Result<(), Error> { Ok(()) },
    ),
];

const NEUTRON_PORT: &str = "neutron:port_name";

const RECORDS: &[RecordId] = &[
    Column("ACL", "name"),
    Column("Address_Set", "name"),
    Column("Chassis_Template_Var", "chassis"),
    Column("Connection", "target"),
    Column("Copp", "name"),
    Via(
        "DHCP_Options",
        "Logical_Switch_Port",
        "dhcpv4_options",
        "name",
        None,
    ),
    Via(
        "DHCP_Options",
        "Logical_Switch_Port",
        "dhcpv4_options",
        "external_ids",
        Some(NEUTRON_PORT),
    ),
    Via(
        "DHCP_Options",
        "Logical_Switch_Port",
        "dhcpv6_options",
        "name",
        None,
    ),
    Via(
        "DHCP_Options",
        "Logical_Switch_Port",
        "dhcpv6_options",
        "external_ids",
        Some(NEUTRON_PORT),
    ),
    Column("Forwarding_Group", "name"),
    Column("HA_Chassis", "chassis_name"),
    Column("HA_Chassis_Group", "name"),
    Column("Load_Balancer", "name"),
    Column("Load_Balancer_Group", "name"),
    Column("Network_Function", "name"),
    Column("Network_Function_Group", "name"),
    Column("Network_Function_Health_Check", "name"),
    Column("Load_Balancer_Health_Check", "vip"),
    Column("Logical_Router", "name"),
    Key("Logical_Router", "external_ids", "neutron:router_name"),
    Column("Logical_Router_Port", "name"),
    Column("Logical_Switch", "name"),
    Key("Logical_Switch", "external_ids", "neutron:network_name"),
    Column("Logical_Switch_Port", "name"),
    Key("Logical_Switch_Port", "external_ids", NEUTRON_PORT),
    Column("Meter", "name"),
    Column("Mirror", "name"),
    Column("NAT", "external_ip"),
    Only("NB_Global"),
    Column("Port_Group", "name"),
    Only("SSL"),
];
