//! Settings that concern the whole network, and `SB_Global`.
//!
//! Guarantees: `SB_Global.options` holds every option of `NB_Global` plus what northd decides itself, and what northd
//! decides is told back in `NB_Global.options` so that it survives a lost southbound. Tunnel keys leave room for VXLAN
//! as soon as one chassis can be reached by nothing else (ovn-architecture(7), "Tunnel Encapsulations").

use weft_ovsdb::model::{Map, Str};
use weft_schemas::sb;

use crate::address::Mac;
use crate::output::Output;
use crate::program::{Cx, Feature, Key, Per};

/// Largest tunnel key of a datapath: 24 bits without what is set aside for interconnection.
const DATAPATH_KEY_MAX: u32 = (1 << 24) - 1 - ((1 << 16) - 1);
/// The same where VXLAN is in use: the VNI holds 12 bits of it.
const DATAPATH_KEY_MAX_VXLAN: u32 = (1 << 12) - 1;
/// Largest tunnel key of a port: 15 bits as ingress port.
const PORT_KEY_MAX: u32 = (1 << 15) - 1;
/// The same where VXLAN is in use: 12 bits of the VNI of which the upper half is for multicast groups.
const PORT_KEY_MAX_VXLAN: u32 = (1 << 11) - 1;

/// Largest tunnel key of a multicast group: 16 bits as output port, of which the upper half is for groups.
const MCAST_KEY_MAX: u32 = (1 << 16) - 1;
/// The same where VXLAN is in use: as many groups as ports.
const MCAST_KEY_MAX_VXLAN: u32 = (1 << 15) + (1 << 11) - 1;

/// Ranges of tunnel keys.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct KeyRanges {
    /// Largest of a datapath.
    pub datapath_max: u32,
    /// Largest of a port.
    pub port_max: u32,
    /// Largest of a multicast group.
    pub mcast_max: u32,
}

/// Publishes [`KeyRanges`].
pub struct Tunnels;

impl Feature for Tunnels {
    const NAME: &'static str = "tunnels";
    const PER: &'static [Per] = &[Per::All];

    fn run(cx: &Cx<'_>, _: Key) {
        let vxlan = cx
            .all_sb(sb::TableId::Chassis)
            .iter()
            .any(|&chassis| needs_vxlan(cx, chassis));
        cx.publish(if vxlan {
            KeyRanges {
                datapath_max: DATAPATH_KEY_MAX_VXLAN,
                port_max: PORT_KEY_MAX_VXLAN,
                mcast_max: MCAST_KEY_MAX_VXLAN,
            }
        } else {
            KeyRanges {
                datapath_max: DATAPATH_KEY_MAX,
                port_max: PORT_KEY_MAX,
                mcast_max: MCAST_KEY_MAX,
            }
        });
    }
}

/// A chassis other than a hardware gateway that offers VXLAN may be sent VXLAN.
fn needs_vxlan(cx: &Cx<'_>, chassis: weft_ovsdb::model::Uuid) -> bool {
    let Some(chassis) = cx.chassis(chassis) else {
        return false;
    };
    chassis
        .encaps()
        .iter()
        .any(|&encap| cx.encap(encap).is_some_and(|e| &**e.type_() == "vxlan"))
        && chassis
            .other_config()
            .get("is-vtep")
            .is_none_or(|v| &**v != "true")
}

/// The ranges of tunnel keys.
pub fn key_ranges(cx: &Cx<'_>) -> KeyRanges {
    cx.value::<KeyRanges>(Tunnels::ID, Key::Global).map_or(
        KeyRanges {
            datapath_max: DATAPATH_KEY_MAX,
            port_max: PORT_KEY_MAX,
            mcast_max: MCAST_KEY_MAX,
        },
        |ranges| *ranges,
    )
}

/// Publishes the [`Mac`] of service monitors and emits `SB_Global`.
pub struct Global;

impl Feature for Global {
    const NAME: &'static str = "global";
    const PER: &'static [Per] = &[Per::All];
    const READS: &'static [&'static str] = &[Tunnels::NAME];

    fn run(cx: &Cx<'_>, _: Key) {
        let Some(global) = cx.global() else { return };
        let options = global.options();
        let settings = cx.settings();
        let svc_monitor_mac = options
            .get("svc_monitor_mac")
            .and_then(|text| text.parse::<Mac>().ok())
            .unwrap_or(settings.svc_monitor_mac);
        let own: [(&str, Str); 4] = [
            ("mac_prefix", mac_prefix_text(mac_prefix(cx))),
            ("max_tunid", key_ranges(cx).datapath_max.to_string().into()),
            ("northd_internal_version", settings.version.as_str().into()),
            ("svc_monitor_mac", svc_monitor_mac.to_string().into()),
        ];
        let mut all: Vec<(Str, Str)> = options
            .iter()
            .filter(|(k, _)| own.iter().all(|(o, _)| *o != &**k))
            .cloned()
            .collect();
        for (name, value) in own {
            cx.emit(Output::NbOption(name.into(), value.clone()));
            all.push((name.into(), value));
        }
        cx.emit(Output::SbGlobal {
            options: Map::from_iter(all),
            ipsec: *global.ipsec(),
        });
        cx.emit(Output::Address {
            set: "svc_monitor_mac".into(),
            address: svc_monitor_mac.to_string().into(),
        });
        cx.emit(Output::AddressSet("svc_monitor_mac".into()));
        cx.emit(Output::Rbac);
        cx.publish(svc_monitor_mac);
    }
}

/// The first three bytes of dynamic Ethernet addresses: the configured ones, or those chosen at the first start.
pub fn mac_prefix(cx: &Cx<'_>) -> [u8; 3] {
    cx.global_option("mac_prefix")
        .and_then(|text| parse_mac_prefix(&text))
        .unwrap_or(cx.settings().mac_prefix)
}

/// `aa:bb:cc`, maybe with three more bytes that do not count.
pub fn parse_mac_prefix(text: &str) -> Option<[u8; 3]> {
    let Mac([a, b, c, ..]) = text
        .parse()
        .or_else(|_| format!("{text}:00:00:00").parse())
        .ok()?;
    Some([a, b, c])
}

fn mac_prefix_text([a, b, c]: [u8; 3]) -> Str {
    format!("{a:02x}:{b:02x}:{c:02x}").into()
}
