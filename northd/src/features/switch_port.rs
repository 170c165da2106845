//! `Port_Binding` of switch ports.
//!
//! Guarantees: columns that chassis fill (`chassis`, `encap`, `up`, `virtual_parent`, ...) are not northd's to touch; the
//! others say what the northbound says, with names of chassis resolved to their rows and ports to routers typed by what
//! is behind them. Of a port that moves between chassis it stays noted where its machine has been heard, for as long as
//! that chassis may have it.

use std::sync::Arc;

use weft_ovsdb::model::{Map, Set, Str, Uuid};
use weft_schemas::nb;

use super::mirror::{Mirror, Mirrors};
use super::nat_addresses::{Balanced, nat_addresses};
use super::nested::{NestedTag, nested_tag};
use super::port_key::{PortKey, port_key};
use super::queue::{Queues, queue};
use crate::address::{PortAddress, parse_port_address};
use crate::index::ByName;
use crate::output::{Output, Port};
use crate::program::{Allocator, Cx, Feature, Key, Per};

/// Emits the rows.
pub struct SwitchPort;

impl Feature for SwitchPort {
    const NAME: &'static str = "switch_port_binding";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitchPort)];
    const READS: &'static [&'static str] = &[
        PortKey::NAME,
        NestedTag::NAME,
        Queues::NAME,
        Mirrors::NAME,
        Balanced::NAME,
    ];

    fn run(cx: &Cx<'_>, key: Key) {
        let uuid = key.row();
        let Some(lsp) = cx.lsp(uuid) else { return };
        let Some(datapath) = cx.switch_of(uuid) else {
            return;
        };
        let Some(tunnel_key) = port_key(cx, key) else {
            return;
        };
        let mut port = Port {
            logical_port: lsp.name().clone(),
            type_: lsp.type_().clone(),
            datapath,
            tunnel_key: i64::from(tunnel_key),
            options: lsp.options().clone(),
            mac: lsp.addresses().clone(),
            port_security: lsp.port_security().clone(),
            external_ids: external_ids(lsp.external_ids()),
            parent_port: lsp.parent_name().clone().filter(|name| !name.is_empty()),
            ..Port::default()
        };
        port.tag = if port.parent_port.is_some() {
            nested_tag(cx, uuid)
        } else {
            *lsp.tag()
        };
        match &**lsp.type_() {
            "router" => towards_router(cx, &lsp, &mut port),
            "external" => {
                port.ha_group = lsp
                    .ha_chassis_group()
                    .and_then(|g| Some(cx.ha_group(g)?.name().clone()))
            }
            _ => {}
        }
        if let Some(queue) = queue(cx, uuid) {
            port.options = queue.written_into(&port.options);
        }
        let mirrors = lsp.mirror_rules().iter();
        let mirrors = mirrors.filter_map(|row| cx.value::<Mirror>(Mirrors::ID, Key::Row(*row)));
        port.mirrors = mirrors.filter_map(|mirror| mirror.outside()).collect();
        check_port_security(cx, &lsp);
        if let Some(text) = lsp.options().get("requested-chassis") {
            let mut names = text
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty());
            port.requested_chassis = names.next().and_then(|name| chassis_named(cx, name));
            port.requested_additional_chassis =
                Set::from_iter(names.filter_map(|name| chassis_named(cx, name)));
        }
        if let Some(list) = activated(cx, lsp.name(), &port.requested_additional_chassis) {
            port.options = port.options.with(ACTIVATED, list);
        }
        cx.emit(Output::Port(Arc::new(port)));
    }
}

/// The option in which chassis say that the machine of a port has been heard there.
const ACTIVATED: &str = "additional-chassis-activated";

/// What chassis have said in it, as far as they still are among those that may have the port.
fn activated(cx: &Cx<'_>, name: &str, additional: &Set<Uuid>) -> Option<Str> {
    if additional.is_empty() {
        return None;
    }
    let binding = *cx.by_name(ByName::Binding, name).first()?;
    let binding = cx.binding(binding)?;
    let list = binding.options().get(ACTIVATED)?;
    let still = |name: &&str| {
        let mut chassis = additional.iter().filter_map(|chassis| cx.chassis(*chassis));
        chassis.any(|chassis| &**chassis.name() == *name)
    };
    let kept: Vec<&str> = list.split(',').map(str::trim).filter(still).collect();
    (!kept.is_empty()).then(|| kept.join(",").into())
}

/// Tells what of `port_security` no controller can use. The text goes to the southbound all the same: what a port may send
/// is narrowed by a bad line, never widened.
fn check_port_security<C: weft_ovsdb::model::Recorder>(
    cx: &Cx<'_>,
    lsp: &nb::LogicalSwitchPortRef<'_, C>,
) {
    for text in lsp.port_security().iter() {
        // A virtual router's addresses begin with that word.
        let entry = text.strip_prefix("VRRPv3 ").unwrap_or(text);
        let (address, problems) = parse_port_address(entry);
        let tell = |what: &str| {
            let message =
                format!("\"{text}\": {what}: nobody may send with what it was meant to allow");
            cx.diagnose::<nb::LogicalSwitchPort>(lsp.name(), lsp.uuid(), "port_security", message);
        };
        for problem in &problems {
            tell(&problem.to_string());
        }
        if problems.is_empty() && !matches!(address, Some(PortAddress::Static(_))) {
            tell("is not \"[VRRPv3] MAC [IP...]\"");
        }
    }
}

/// A chassis by its name or host name.
pub fn chassis_named(cx: &Cx<'_>, name: &str) -> Option<Uuid> {
    let by = |index| cx.by_name(index, name).first().copied();
    by(ByName::Chassis).or_else(|| by(ByName::ChassisHost))
}

/// The user's `external_ids`, and the name that OpenStack gives a port where tools look for it.
pub fn external_ids(ids: &Map<Str, Str>) -> Map<Str, Str> {
    match ids.get("neutron:port_name") {
        Some(name) if ids.get("name").is_none() => {
            Map::from_iter(ids.iter().cloned().chain([("name".into(), name.clone())]))
        }
        _ => ids.clone(),
    }
}

/// A port to a router is a patch, or a port on the router's chassis where the router is bound to one.
fn towards_router<C: weft_ovsdb::model::Recorder>(
    cx: &Cx<'_>,
    lsp: &nb::LogicalSwitchPortRef<'_, C>,
    port: &mut Port,
) {
    let peer = lsp.options().get("router-port").cloned();
    let lrp = peer.as_ref().and_then(|name| cx.lrp_named(name));
    let chassis = lrp.and_then(|lrp| gateway_chassis_of(cx, lrp));
    port.type_ = if chassis.is_some() {
        "l3gateway"
    } else {
        "patch"
    }
    .into();
    let mut options: Vec<(Str, Str)> = Vec::new();
    options.extend(peer.map(|peer| ("peer".into(), peer)));
    options.extend(chassis.map(|chassis| ("l3gateway-chassis".into(), chassis)));
    for kept in ["vlan-passthru", "requested-chassis"] {
        options.extend(lsp.options().get(kept).map(|v| (kept.into(), v.clone())));
    }
    port.options = Map::from_iter(options);
    if let Some(lrp) = lrp {
        port.nat_addresses = nat_addresses(cx, lsp.options(), lrp);
    }
}

/// The chassis that the router of a router port is bound to.
pub fn gateway_chassis_of(cx: &Cx<'_>, lrp: Uuid) -> Option<Str> {
    cx.lr(cx.router_of(lrp)?)?
        .options()
        .get("chassis")
        .filter(|name| !name.is_empty())
        .cloned()
}

#[cfg(test)]
mod tests {
    use weft_schemas::sb;

    use crate::output::Output;
    use crate::testing::{Bed, map};

    /// Where the row of a port says that its machine has been heard.
    fn heard(bed: &mut Bed, port: &str) -> String {
        bed.flows("");
        let found = bed.outputs().find_map(|output| match output {
            Output::Port(row) if &*row.logical_port == port => Some(row.options.clone()),
            _ => None,
        });
        let list = found.and_then(|options| options.get(super::ACTIVATED).cloned());
        list.map(|list| list.to_string()).unwrap_or_default()
    }

    #[test]
    fn what_was_heard_is_kept_for_as_long_as_it_matters() {
        let mut bed = Bed::new();
        for name in ["h1", "h2", "h3"] {
            bed.insert_sb(sb::Chassis {
                name: name.into(),
                hostname: format!("host-{name}").into(),
                ..Default::default()
            });
        }
        let switch = bed.switch("s");
        let port = bed.port(switch, "vm", |_| {});
        let request = |bed: &mut Bed, chassis: &str| {
            bed.edit_port(port, |row| {
                row.options = map([("requested-chassis", chassis)])
            });
            heard(bed, "vm")
        };
        assert_eq!(request(&mut bed, "h1,host-h2"), "");
        bed.insert_sb(sb::PortBinding {
            logical_port: "vm".into(),
            options: map([(super::ACTIVATED, "h2")]),
            ..Default::default()
        });
        assert_eq!(heard(&mut bed, "vm"), "h2", "the host goes by two names");
        assert_eq!(request(&mut bed, "h1,h3,h2"), "h2");
        assert_eq!(request(&mut bed, "h1,h3"), "");
        assert_eq!(request(&mut bed, "h2,h1"), "", "it is its place now");
        assert_eq!(request(&mut bed, "h2"), "");
    }
}
