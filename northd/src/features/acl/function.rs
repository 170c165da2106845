//! Network functions: machines that allowed packets are sent through, in by one port and out by another (`inline`), or that
//! get a copy (`vtap`).
//!
//! Guarantees: what an ACL with a `network_function_group` allows goes to the group's function in use, and so do the replies,
//! the other way round; what comes out of the function goes on as if nothing had been, and is not tracked there. A function
//! is used while its ports are up and its health check does not say that it is down, and the one in use stays in use as long;
//! of one that gets copies nothing comes back, so that only the port counts by which it gets them. Without a usable one
//! packets pass if the group is `fail-open` or gets copies, else they are dropped. Change of the function in use costs some
//! flows of the group, however many ACLs name it.
//!
//! The stages are those of 23.03, so packets leave the pipeline for a function where ARP is answered and where port security
//! is asked on the way out: these know nothing of IP packets that are to leave. The ports of a function may be children of
//! the ports it names, on the switch in question.

use std::sync::Arc;

use weft_lang::action::{CallName, NestedKind};
use weft_lang::{Action, Expr, Field, field, pred};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::nb;

use super::state::{SwitchAcls, needs};
use super::{frame, is_set, language, set};
use crate::address::Mac;
use crate::features::global::Global;
use crate::features::monitor::{Probe, handle, status};
use crate::index::{ById, ByName};
use crate::output::{DpSet, Need, Output, ServiceMonitor};
use crate::pipeline::{self as p, Stage, priority};
use crate::program::{Cx, Feature, Key, Per};
use crate::view::NbReads;

/// The connection goes through a function, and through which: by bits, controllers of 23.03 have no names for them.
const THROUGH: Field = field::CT_LABEL.bit(16);
const WHICH: Field = field::CT_LABEL.bits(17..=24);

/// Where packets leave for a function, in both directions.
const LEAVE: [Stage; 2] = [Stage::LsInArpRsp, Stage::LsOutCheckPortSec];
const MULTICAST: u16 = 220;
const OWN_PORT: u16 = 210;
const REDIRECT: u16 = 200;
const PASS: u16 = 195;
const DROP: u16 = 190;
/// Above other commits.
const COMMIT_MORE: u16 = 20;

/// What an ACL does with what it allows.
pub fn send(group: u8) -> [Action; 3] {
    [
        set(p::FUNCTION, 1),
        set(p::FUNCTION_REQUEST, 1),
        set(p::FUNCTION_GROUP, u64::from(group)),
    ]
}

/// What a reply does: goes where the connection goes.
pub fn recall() -> Action {
    Action::Move(p::FUNCTION.field(), THROUGH)
}

/// The number of the group that an ACL names.
pub fn group_of(cx: &Cx<'_>, acl: &nb::AclRef<'_, NbReads<'_>>) -> Option<u8> {
    let group = (*acl.network_function_group())?;
    u8::try_from(*cx.function_group(group)?.id()).ok()
}

/// The switches with ACLs that name groups, published; and the flows that they all have.
pub struct Places;

impl Feature for Places {
    const NAME: &'static str = "function_places";
    const PER: &'static [Per] = &[Per::All];
    const READS: &'static [&'static str] = &[SwitchAcls::NAME];

    fn run(cx: &Cx<'_>, _: Key) {
        if cx.all(nb::TableId::NetworkFunctionGroup).is_empty() {
            return;
        }
        let switches = cx.all(nb::TableId::LogicalSwitch).iter().copied();
        let uses = |switch: &Uuid| {
            let needs = needs(cx, *switch);
            needs.functions && needs.stateful()
        };
        cx.publish(switches.filter(uses).collect::<Vec<Uuid>>());
        let dps = Need::Functions.set();
        for stage in LEAVE {
            let groups = Expr::all([is_set(p::FUNCTION), pred::ETH_MCAST]);
            cx.flow(&dps, stage, MULTICAST, groups, go_on(stage), None);
            cx.flow(&dps, stage, DROP, is_set(p::FUNCTION), [Action::Drop], None);
        }
        let (stage, priority) = (Stage::LsInL2Lkup, priority::L2_FUNCTION);
        cx.flow(
            &dps,
            stage,
            priority,
            is_set(p::FUNCTION_CHOSEN),
            [Action::Output],
            None,
        );
    }
}

/// What the stage does with other packets.
fn go_on(stage: Stage) -> Vec<Action> {
    let check = Action::call_into(p::PORT_SEC_DROP.field(), CallName::CheckOutPortSec, []);
    match stage {
        Stage::LsOutCheckPortSec => vec![check, Action::NEXT],
        _ => vec![Action::NEXT],
    }
}

fn goto(stage: Stage) -> Action {
    Action::NextIn(language(stage), stage.table())
}

/// A network function, published.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Function {
    id: u8,
    inport: Uuid,
    outport: Option<Uuid>,
    /// Packets to its first port arrive.
    receives: bool,
    /// As far as is known they come out of the other again.
    passes: bool,
}

impl Function {
    fn usable(&self, copies: bool) -> bool {
        self.receives && (copies || self.passes)
    }

    /// Sends a packet to one of its ports.
    fn deliver(stage: Stage, port: &Str) -> Vec<Action> {
        let to = Action::set(field::OUTPORT, port);
        match stage {
            // It may be on another chassis: ingress knows how to get there.
            Stage::LsOutCheckPortSec => {
                vec![to, set(p::FUNCTION_CHOSEN, 1), goto(Stage::LsInL2Lkup)]
            }
            _ => vec![to, Action::Output],
        }
    }

    /// What becomes of a packet that goes through it.
    fn through(stage: Stage, ports: &Ports, copies: bool) -> Vec<Action> {
        let port = match (stage, &ports.outport) {
            (Stage::LsOutCheckPortSec, Some(outport)) if !copies => outport,
            _ => &ports.inport,
        };
        let deliver = Self::deliver(stage, port);
        if !copies {
            return deliver;
        }
        let copy = Action::nested(NestedKind::Clone, deliver);
        [copy].into_iter().chain(go_on(stage)).collect()
    }
}

/// Its ports on a switch.
struct Ports {
    inport: Str,
    outport: Option<Str>,
}

/// The port itself if it is on the switch, or its child there.
fn port_on(cx: &Cx<'_>, port: Uuid, switch: Uuid) -> Option<Str> {
    let name = cx.lsp(port)?.name().clone();
    if cx.switch_of(port) == Some(switch) {
        return Some(name);
    }
    let children = cx.by_name(ByName::ChildrenOf, &name).iter();
    let mut children = children.filter(|child| cx.switch_of(**child) == Some(switch));
    Some(cx.lsp(*children.next()?)?.name().clone())
}

fn ports_on(cx: &Cx<'_>, function: &Function, switch: Uuid, copies: bool) -> Option<Ports> {
    let outport = function.outport.and_then(|port| port_on(cx, port, switch));
    (copies || outport.is_some()).then_some(Ports {
        inport: port_on(cx, function.inport, switch)?,
        outport,
    })
}

/// Publishes a [`Function`] per row, and has it checked.
pub struct Functions;

impl Feature for Functions {
    const NAME: &'static str = "network_function";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::NetworkFunction)];
    const READS: &'static [&'static str] = &[Global::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.function(key.row()) else {
            return;
        };
        let checked = row.health_check().map(|check| {
            checked(cx, key.row(), check).unwrap_or_else(|(column, message)| {
                let message = format!("{message}: it is not checked, and taken for usable");
                cx.diagnose::<nb::NetworkFunction>(row.name(), key.row(), column, message);
                true
            })
        });
        let (inport, outport) = (*row.inport(), *row.outport());
        cx.publish(Function {
            id: u8::try_from(*row.id()).unwrap_or(0),
            inport,
            outport,
            receives: is_up(cx, inport),
            passes: outport.is_some_and(|port| is_up(cx, port)) && checked.unwrap_or(true),
        });
    }
}

/// A chassis has the port and is ready.
fn is_up(cx: &Cx<'_>, port: Uuid) -> bool {
    cx.lsp(port)
        .is_some_and(|row| !cx.by_name(ByName::BoundUp, row.name()).is_empty())
}

/// Has a function checked; whether it may be used by what is known so far.
fn checked(cx: &Cx<'_>, function: Uuid, check: Uuid) -> Result<bool, (&'static str, String)> {
    let bad = |column, message: &str| (column, message.to_owned());
    let row = cx.function(function).ok_or_else(|| bad("name", "gone"))?;
    let port = |port: Uuid| Some((port, cx.lsp(port)?.name().clone()));
    let outport = row.outport().and_then(port);
    let (outport, name) = outport.ok_or_else(|| bad("outport", "checks come out of it"))?;
    let (_, inport) = port(*row.inport()).ok_or_else(|| bad("inport", "there is no such port"))?;
    let northd = cx.value::<Mac>(Global::ID, Key::Global);
    let northd = northd.ok_or_else(|| bad("health_check", "northd has no address"))?;
    let global = cx
        .global()
        .ok_or_else(|| bad("health_check", "nothing is configured"))?;
    let option = |name: &str| global.options().get(name).cloned();
    let (Some(source), Some(target)) = (option("svc_monitor_ip"), option("svc_monitor_ip_dst"))
    else {
        let message = "NB_Global.options has no svc_monitor_ip and svc_monitor_ip_dst";
        return Err(bad("health_check", message));
    };
    let mac = option("svc_monitor_mac_dst").unwrap_or_else(|| {
        let Mac([rest @ .., last]) = *northd;
        let [a, b, c, d, e] = rest;
        Mac([a, b, c, d, e, last ^ 1]).to_string().into()
    });
    let options = cx.function_check(check).map(|row| row.options().clone());
    cx.emit(Output::ServiceMonitor(Arc::new(ServiceMonitor {
        logical_port: name.clone(),
        ip: target.clone(),
        port: 0,
        protocol: "icmp".into(),
        kind: "network-function",
        logical_input_port: inport,
        mac,
        src_mac: northd.to_string().into(),
        src_ip: source,
        options: options.unwrap_or_default(),
    })));
    if let Some(switch) = cx.switch_of(outport) {
        let came = Expr::all([
            field::INPORT.eq(&name),
            field::ETH_SRC.in_set("svc_monitor_mac"),
        ]);
        let hint = Some(function);
        let (stage, own) = (Stage::LsInL2Lkup, priority::L2_FUNCTION);
        cx.flow(switch, stage, own, came.clone(), [handle()], hint);
        for stage in [Stage::LsInAcl, Stage::LsInAclAfterLb] {
            cx.flow(
                switch,
                stage,
                priority::ACL_OWN,
                came.clone(),
                [Action::NEXT],
                hint,
            );
        }
    }
    let status = status(cx, &name, &target, Probe::Icmp);
    Ok(status.is_none_or(|status| &*status == "online"))
}

/// A group of functions, published.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Group {
    /// The function in use.
    active: Option<Arc<Function>>,
    /// Functions get copies.
    copies: bool,
    /// Packets pass when there is none.
    open: bool,
}

/// Publishes a [`Group`] per row and writes the flows of its packets.
pub struct Groups;

impl Feature for Groups {
    const NAME: &'static str = "network_function_group";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::NetworkFunctionGroup)];
    const READS: &'static [&'static str] = &[Functions::NAME, Places::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(row) = cx.function_group(key.row()) else {
            return;
        };
        let copies = &**row.mode() == "vtap";
        let function = |uuid: &Uuid| cx.value::<Function>(Functions::ID, Key::Row(*uuid));
        let usable = |uuid: &Uuid| function(uuid).filter(|function| function.usable(copies));
        let in_use = row.network_function_active().iter();
        let in_use = in_use.filter(|uuid| row.network_function().contains(uuid));
        let mut candidates = in_use.chain(row.network_function().iter());
        let active = candidates.find_map(|uuid| Some((*uuid, usable(uuid)?)));
        cx.emit(Output::ActiveFunction(
            key.row(),
            active.as_ref().map(|(uuid, _)| *uuid),
        ));
        let group = Group {
            active: active.map(|(_, function)| function),
            copies,
            open: copies || row.fallback().as_deref() == Some("fail-open"),
        };
        let number = u64::try_from(*row.id()).unwrap_or(0);
        let request = Expr::all([
            is_set(p::FUNCTION),
            is_set(p::FUNCTION_REQUEST),
            p::FUNCTION_GROUP.field().eq(number),
        ]);
        let switches = cx
            .value::<Vec<Uuid>>(Places::ID, Key::Global)
            .unwrap_or_default();
        requests(cx, &group, &switches, &request, key.row());
        cx.publish(group);
    }
}

/// What becomes of the packets that ACLs send through a group.
fn requests(cx: &Cx<'_>, group: &Group, switches: &[Uuid], request: &Expr, hint: Uuid) {
    let Some(active) = &group.active else {
        if group.open {
            let dps = DpSet::new(switches.to_vec());
            for stage in LEAVE {
                cx.flow(&dps, stage, PASS, request.clone(), go_on(stage), Some(hint));
            }
        }
        return;
    };
    let mut with = Vec::new();
    for switch in switches {
        let Some(ports) = ports_on(cx, active, *switch, group.copies) else {
            continue;
        };
        with.push(*switch);
        for stage in LEAVE {
            let actions = Function::through(stage, &ports, group.copies);
            cx.flow(
                *switch,
                stage,
                REDIRECT,
                request.clone(),
                actions,
                Some(hint),
            );
        }
    }
    let with = DpSet::new(with);
    for stage in [Stage::LsInStateful, Stage::LsOutStateful] {
        for (priority, match_, mut assignments) in frame::commits() {
            assignments.push(Action::set(THROUGH, 1));
            assignments.push(Action::set(WHICH, u64::from(active.id)));
            let match_ = Expr::all([match_, request.clone()]);
            let actions = [Action::ct_commit(assignments), Action::NEXT];
            cx.flow(
                &with,
                stage,
                priority + COMMIT_MORE,
                match_,
                actions,
                Some(hint),
            );
        }
    }
}

/// Per function: replies of its connections, and what its ports need.
pub struct Replies;

impl Feature for Replies {
    const NAME: &'static str = "network_function_replies";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::NetworkFunction)];
    const READS: &'static [&'static str] = &[Functions::NAME, Groups::NAME, Places::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(own) = cx.value::<Function>(Functions::ID, key) else {
            return;
        };
        let groups = cx.by_id(ById::GroupsOfFunction, key.row()).iter();
        let groups = groups.filter_map(|group| cx.value::<Group>(Groups::ID, Key::Row(*group)));
        let groups: Vec<Arc<Group>> = groups.collect();
        let Some(first) = groups.first() else { return };
        let copies = groups.iter().all(|group| group.copies);
        // Replies of a function that is down go through the one that is used instead.
        let target = match own.usable(copies) {
            true => Some(own.clone()),
            false => first.active.clone(),
        };
        let reply = Expr::all([
            is_set(p::FUNCTION),
            p::FUNCTION_REQUEST.field().eq(0),
            WHICH.eq(u64::from(own.id)),
        ]);
        let hint = Some(key.row());
        let switches = cx
            .value::<Vec<Uuid>>(Places::ID, Key::Global)
            .unwrap_or_default();
        for switch in switches.iter() {
            if let Some(ports) = ports_on(cx, &own, *switch, copies) {
                around_ports(cx, *switch, &ports, copies, key.row());
            }
            let target = target.as_ref();
            let ports = target.and_then(|target| ports_on(cx, target, *switch, copies));
            for stage in LEAVE {
                let (priority, actions) = match &ports {
                    Some(ports) => (REDIRECT, Function::through(stage, ports, copies)),
                    None if first.open => (PASS, go_on(stage)),
                    None => continue,
                };
                cx.flow(*switch, stage, priority, reply.clone(), actions, hint);
            }
        }
    }
}

/// What enters and leaves by the ports of a function: not tracked, and not sent through it again.
fn around_ports(cx: &Cx<'_>, switch: Uuid, ports: &Ports, copies: bool, function: Uuid) {
    let flow = |stage, priority, match_, actions: Vec<Action>| {
        cx.flow(switch, stage, priority, match_, actions, Some(function));
    };
    for port in [Some(&ports.inport), ports.outport.as_ref()]
        .into_iter()
        .flatten()
    {
        let came = || field::INPORT.eq(port);
        let goes = || field::OUTPORT.eq(port);
        let ip = |what: Expr| Expr::all([pred::IP, what]);
        for stage in [Stage::LsInPreAcl, Stage::LsInPreLb] {
            flow(stage, 110, ip(came()), vec![Action::NEXT]);
        }
        let forget = vec![Action::CtClear, Action::NEXT];
        flow(Stage::LsOutPreAcl, 110, ip(goes()), forget);
        flow(Stage::LsOutPreLb, 110, ip(goes()), vec![Action::NEXT]);
        let [inward, outward] = LEAVE;
        let through = |what: Expr| Expr::all([is_set(p::FUNCTION), what]);
        flow(outward, OWN_PORT, through(goes()), go_on(outward));
        if copies {
            flow(inward, OWN_PORT, came(), vec![Action::Drop]);
        } else {
            flow(inward, OWN_PORT, through(came()), go_on(inward));
        }
    }
    if !copies {
        // It was on its way to a port here when it was sent through: all was said of it then.
        let back = field::INPORT.eq(&ports.inport);
        flow(
            Stage::LsOutPreAcl,
            115,
            back,
            vec![goto(Stage::LsOutCheckPortSec)],
        );
    }
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Uuid;
    use weft_schemas::{nb, sb};

    use crate::output::Output;
    use crate::testing::{Bed, map};

    struct Scene {
        bed: Bed,
        functions: [Uuid; 2],
        group: Uuid,
        /// `in1`, `out1`, `in2`, `out2`.
        bindings: Vec<Uuid>,
    }

    /// `p` on a switch with an ACL, and two functions.
    fn scene(edit: impl Fn(&mut nb::NetworkFunctionGroup)) -> Scene {
        let mut bed = Bed::new();
        bed.global(|row| {
            row.options = map([
                ("svc_monitor_ip", "192.0.2.1"),
                ("svc_monitor_ip_dst", "192.0.2.2"),
            ]);
        });
        let switch = bed.switch("sw");
        bed.port(switch, "p", |_| ());
        let check = bed.insert(nb::NetworkFunctionHealthCheck::default());
        let mut bindings = Vec::new();
        let functions = [1, 2].map(|n| {
            let [inport, outport] = ["in", "out"].map(|way| {
                let name = format!("{way}{n}");
                bindings.push(bed.insert_sb(binding(&name, true)));
                bed.port(switch, &name, |row| {
                    row.options = map([("receive_multicast", "false")]);
                })
            });
            bed.insert(nb::NetworkFunction {
                name: format!("nf{n}").as_str().into(),
                id: 10 + n,
                inport,
                outport: Some(outport),
                health_check: Some(check),
                ..Default::default()
            })
        });
        let mut row = nb::NetworkFunctionGroup {
            name: "group".into(),
            id: 7,
            mode: "inline".into(),
            network_function: functions.into_iter().collect(),
            ..Default::default()
        };
        edit(&mut row);
        let group = bed.insert(row);
        let acl = bed.insert(nb::Acl {
            action: "allow-related".into(),
            direction: "from-lport".into(),
            match_: "inport == \"p\" && tcp".into(),
            priority: 10,
            network_function_group: Some(group),
            ..nb::Acl::default()
        });
        bed.edit_switch(switch, |row| row.acls = [acl].into_iter().collect());
        Scene {
            bed,
            functions,
            group,
            bindings,
        }
    }

    fn binding(port: &str, up: bool) -> sb::PortBinding {
        sb::PortBinding {
            logical_port: port.into(),
            up: Some(up),
            ..Default::default()
        }
    }

    fn say(scene: &mut Scene, n: usize, status: &str) {
        scene.bed.insert_sb(sb::ServiceMonitor {
            logical_port: format!("out{n}").as_str().into(),
            ip: "192.0.2.2".into(),
            protocol: Some("icmp".into()),
            status: Some(status.into()),
            ..Default::default()
        });
    }

    fn active(scene: &mut Scene) -> Option<Uuid> {
        let wanted = scene.bed.wanted();
        let group = scene.group;
        let found = wanted.iter().find_map(|output| match output {
            Output::ActiveFunction(of, active) if *of == group => Some(*active),
            _ => None,
        });
        found.flatten()
    }

    #[test]
    fn packets_go_through_the_function_in_use() {
        let mut scene = scene(|_| ());
        assert_eq!(active(&mut scene), Some(scene.functions[0]));
        insta::assert_snapshot!(scene.bed.all_flows("reg8[") + &scene.bed.flows("\"in1\""));
        let monitors = scene.bed.wanted().into_iter();
        let monitors = monitors
            .filter(|o| matches!(o, Output::ServiceMonitor(m) if m.kind == "network-function"));
        assert_eq!(monitors.count(), 2);
    }

    #[test]
    fn one_that_is_down_is_replaced() {
        let mut scene = scene(|_| ());
        say(&mut scene, 1, "offline");
        assert_eq!(active(&mut scene), Some(scene.functions[1]));
        let redirected = scene.bed.flows("ls_in_arp_rsp 200");
        assert!(
            !redirected.contains("in1") && redirected.contains("in2"),
            "{redirected}"
        );
        say(&mut scene, 2, "offline");
        assert_eq!(active(&mut scene), None);
        assert_eq!(scene.bed.flows("ls_in_arp_rsp 200"), "");
        assert_eq!(scene.bed.flows("ls_in_arp_rsp 195"), "", "closed");
    }

    #[test]
    fn an_open_group_without_a_function_lets_packets_pass() {
        let mut scene = scene(|row| row.fallback = Some("fail-open".into()));
        say(&mut scene, 1, "offline");
        say(&mut scene, 2, "offline");
        let pass = scene.bed.flows("ls_in_arp_rsp 195");
        assert!(pass.contains("reg8[0..7] == 7"), "{pass}");
        assert!(!scene.bed.flows("ls_in_stateful").contains("ct_label[16]"));
    }

    #[test]
    fn copies_leave_the_packet_on_its_way() {
        let mut scene = scene(|row| row.mode = "vtap".into());
        insta::assert_snapshot!(scene.bed.flows("clone"));
    }

    #[test]
    fn a_function_needs_its_ports() {
        for (mode, needed) in [("inline", [true, true]), ("vtap", [true, false])] {
            let mut scene = scene(|row| row.mode = mode.into());
            // What gets copies is not probed.
            let [first, second] = scene.functions;
            for (n, needed) in needed.into_iter().enumerate() {
                let port = ["in1", "out1"][n];
                let down = scene.bindings[n];
                scene.bed.sb_put(down, binding(port, false));
                let wanted = if needed { second } else { first };
                assert_eq!(active(&mut scene), Some(wanted), "{mode} without {port}");
                scene.bed.sb_put(down, binding(port, true));
                assert_eq!(active(&mut scene), Some(first), "{mode} with {port}");
            }
            say(&mut scene, 1, "offline");
            let wanted = if mode == "vtap" { first } else { second };
            assert_eq!(active(&mut scene), Some(wanted), "{mode}: the check");
        }
    }

    #[test]
    fn without_anybody_to_copy_for_packets_go_on() {
        let mut scene = scene(|row| row.mode = "vtap".into());
        for (n, port) in [(0, "in1"), (2, "in2")] {
            let down = scene.bindings[n];
            scene.bed.sb_put(down, binding(port, false));
        }
        assert_eq!(active(&mut scene), None);
        assert_eq!(scene.bed.flows("clone"), "");
        let pass = scene.bed.flows("ls_in_arp_rsp 195");
        assert!(pass.contains("reg8[0..7] == 7"), "{pass}");
    }
}
