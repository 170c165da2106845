//! What chassis may write into the southbound where role-based access control is on (ovn-sb(5), `RBAC_Role`).

use weft_schemas::sb;

/// The role of controllers.
pub const ROLE: &str = "ovn-controller";

/// A row of `RBAC_Permission`.
#[derive(Debug)]
pub struct Permission {
    /// The table.
    pub table: &'static str,
    authorization: &'static str,
    insert_delete: bool,
    update: &'static [&'static str],
}

impl Permission {
    /// As the southbound holds it.
    pub fn row(&self) -> sb::RbacPermission {
        sb::RbacPermission {
            table: self.table.into(),
            authorization: [self.authorization.into()].into(),
            insert_delete: self.insert_delete,
            update: self.update.iter().map(|column| (*column).into()).collect(),
        }
    }
}

const fn row(
    table: &'static str,
    authorization: &'static str,
    insert_delete: bool,
    update: &'static [&'static str],
) -> Permission {
    Permission {
        table,
        authorization,
        insert_delete,
        update,
    }
}

/// All permissions of the role.
pub const PERMISSIONS: &[Permission] = &[
    row("BFD", "", false, &["status"]),
    row(
        "Chassis",
        "name",
        true,
        &[
            "encaps",
            "external_ids",
            "nb_cfg",
            "other_config",
            "transport_zones",
            "vtep_logical_switches",
        ],
    ),
    row(
        "Chassis_Private",
        "name",
        true,
        &["chassis", "external_ids", "nb_cfg", "nb_cfg_timestamp"],
    ),
    row(
        "Controller_Event",
        "",
        true,
        &["chassis", "event_info", "event_type", "seq_num"],
    ),
    row("Encap", "chassis_name", true, &["ip", "options", "type"]),
    row("FDB", "", true, &["dp_key", "mac", "port_key", "timestamp"]),
    row(
        "IGMP_Group",
        "",
        true,
        &["address", "chassis", "datapath", "ports", "protocol"],
    ),
    row(
        "MAC_Binding",
        "",
        true,
        &["datapath", "ip", "logical_port", "mac", "timestamp"],
    ),
    row(
        "Port_Binding",
        "",
        false,
        &[
            "additional_chassis",
            "additional_encap",
            "chassis",
            "encap",
            "options",
            "up",
            "virtual_parent",
        ],
    ),
    row("Service_Monitor", "", false, &["status"]),
];
