//! `weft-sbctl`: commands over the Southbound database.

mod chassis;
mod flows;
mod multicast;
mod others;

use crate::command::{Command, Group, Tool};
use crate::records::RecordId::{self, Column, Key, Only};
use crate::{common, generic};

/// The tool.
pub static TOOL: Tool = Tool {
    weft: "weft-sbctl",
    ovn: "ovn-sbctl",
    about: "Southbound database management utility",
    database: "OVN_Southbound",
    default_db: weft_daemon::dirs::default_sb_db,
    groups: GROUPS,
    records: RECORDS,
    global: "SB_Global",
    waits: false,
};

const GROUPS: &[Group] = &[
    Group {
        title: "General commands",
        commands: GENERAL,
    },
    Group {
        title: "Chassis and port binding commands",
        commands: chassis::COMMANDS,
    },
    Group {
        title: "Logical flow commands",
        commands: flows::COMMANDS,
    },
    Group {
        title: "IP multicast commands",
        commands: multicast::COMMANDS,
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
        (0, 0),
        "",
        &[],
        &["Chassis", "Encap", "Port_Binding"],
        "print overview of database contents",
        chassis::show,
    ),
];

const RECORDS: &[RecordId] = &[
    Column("Address_Set", "name"),
    Column("Chassis", "name"),
    Column("Chassis_Private", "name"),
    Column("Chassis_Template_Var", "chassis"),
    Column("Connection", "target"),
    Column("DHCP_Options", "name"),
    Column("DHCPv6_Options", "name"),
    Key("Datapath_Binding", "external_ids", "name"),
    Key("Datapath_Binding", "external_ids", "name2"),
    Key("Datapath_Binding", "external_ids", "logical-switch"),
    Key("Datapath_Binding", "external_ids", "logical-router"),
    Column("Gateway_Chassis", "name"),
    Column("HA_Chassis_Group", "name"),
    Column("Load_Balancer", "name"),
    Column("MAC_Binding", "logical_port"),
    Column("Meter", "name"),
    Column("Mirror", "name"),
    Column("Port_Binding", "logical_port"),
    Key("Port_Binding", "external_ids", "name"),
    Column("Port_Group", "name"),
    Column("RBAC_Permission", "table"),
    Column("RBAC_Role", "name"),
    Only("SB_Global"),
    Only("SSL"),
    Column("Service_Monitor", "logical_port"),
];
