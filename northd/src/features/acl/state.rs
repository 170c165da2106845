//! What the ACLs of a switch, its own and those of port groups with ports on it, make the switch need.
//!
//! Guarantees: connection tracking only where an `allow-related` ACL or a load balancer asks for it. Nothing here reads
//! ACLs one by one or ports of groups: an ACL or port more or less costs the same however many there are.

use std::collections::BTreeMap;
use std::sync::Arc;

use weft_ovsdb::model::Uuid;
use weft_schemas::nb;

use crate::index::{ACL_TIER_MAX, AclClass, AclStage, ById};
use crate::output::{DpSet, Need, Output, SetName};
use crate::program::{Cx, Feature, Key, Per};

/// What ACLs ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Needs {
    /// There are ACLs at all.
    pub acls: bool,
    /// Some are `allow-related`.
    pub related: bool,
    /// Some let connections persist.
    pub persistent: bool,
    /// Some send packets through network functions.
    pub functions: bool,
    /// There is a load balancer with a virtual address. Of switches only.
    pub balanced: bool,
    /// By [`AclStage`]: the last tier, if the stage is in tiers.
    pub tiers: [Option<u8>; 3],
}

impl Needs {
    /// What the ACLs ask for that a switch or port group lists.
    fn of(cx: &Cx<'_>, owner: Uuid, acls: bool) -> Needs {
        let none = |class| cx.acls_of(owner, class).is_empty();
        let tiers = if !acls || none(AclClass::Tiered) {
            [None; 3]
        } else {
            let there = |stage, tier: &u8| !none(AclClass::Tier(stage, *tier));
            AclStage::ALL.map(|stage| (0..=ACL_TIER_MAX).rev().find(|tier| there(stage, tier)))
        };
        Needs {
            acls,
            related: acls && !none(AclClass::Related),
            persistent: acls && !none(AclClass::Persistent),
            functions: acls && !none(AclClass::Functions),
            balanced: false,
            tiers,
        }
    }

    fn and(self, other: Needs) -> Needs {
        let tiers = std::array::from_fn(|stage| self.tiers[stage].max(other.tiers[stage]));
        Needs {
            acls: self.acls || other.acls,
            related: self.related || other.related,
            persistent: self.persistent || other.persistent,
            functions: self.functions || other.functions,
            balanced: self.balanced || other.balanced,
            tiers,
        }
    }

    /// Whether packets are tracked, so that ACLs see the state of connections.
    pub fn stateful(&self) -> bool {
        self.related || self.balanced
    }

    /// The sets that a switch with these needs is in.
    pub fn named(&self) -> Vec<Need> {
        let stateful = self.stateful();
        let mut all = vec![if self.acls { Need::Acls } else { Need::NoAcls }];
        let more = [
            (self.balanced, Need::Balanced),
            (self.related, Need::Related),
            (stateful, Need::Stateful),
            (stateful || self.acls, Need::Guarded),
            (stateful && !self.functions, Need::Plain),
            (stateful && self.functions, Need::Functions),
            (stateful && self.persistent, Need::Persistent),
        ];
        all.extend(
            more.into_iter()
                .filter_map(|(needs, need)| needs.then_some(need)),
        );
        for stage in AclStage::ALL {
            let last = self.tiers[stage as usize].unwrap_or(0);
            all.extend((0..last).map(|tier| Need::Tiers(stage, tier)));
        }
        all
    }

    fn view(&self, stage: AclStage) -> View {
        View {
            stateful: self.stateful(),
            tiered: self.tiers[stage as usize].is_some(),
            functions: self.functions,
        }
    }
}

/// What the flows of an ACL in a certain stage depend on. Switches that look the same share them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct View {
    /// ACLs see the state of connections.
    pub stateful: bool,
    /// The stage is in tiers.
    pub tiered: bool,
    /// Connections remember which network function they go through.
    pub functions: bool,
}

/// Publishes per load balancer whether it has a virtual address (`bool`).
pub struct LbVips;

impl Feature for LbVips {
    const NAME: &'static str = "lb_has_vips";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancer)];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(lb) = cx.load_balancer(key.row()) {
            cx.publish(!lb.vips().is_empty());
        }
    }
}

/// Publishes the same per load balancer group.
pub struct LbGroupVips;

impl Feature for LbGroupVips {
    const NAME: &'static str = "lb_group_has_vips";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LoadBalancerGroup)];
    const READS: &'static [&'static str] = &[LbVips::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(group) = cx.load_balancer_group(key.row()) {
            cx.publish(some_has_vips::<LbVips>(cx, group.load_balancer()));
        }
    }
}

/// Reads no further than the first that has.
fn some_has_vips<F: Feature>(cx: &Cx<'_>, rows: &[Uuid]) -> bool {
    rows.iter().any(|row| {
        cx.value::<bool>(F::ID, Key::Row(*row))
            .is_some_and(|has| *has)
    })
}

/// Publishes the [`Needs`] of the ACLs of a port group.
pub struct GroupAcls;

impl Feature for GroupAcls {
    const NAME: &'static str = "acl_group_needs";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::PortGroup)];

    fn run(cx: &Cx<'_>, key: Key) {
        if let Some(group) = cx.port_group(key.row()) {
            cx.publish(Needs::of(cx, key.row(), !group.acls().is_empty()));
        }
    }
}

/// Publishes the [`Needs`] of a switch, which is in the sets of those that need the same.
pub struct SwitchAcls;

impl Feature for SwitchAcls {
    const NAME: &'static str = "acl_switch_needs";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::LogicalSwitch)];
    const READS: &'static [&'static str] = &[GroupAcls::NAME, LbVips::NAME, LbGroupVips::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let Some(switch) = cx.ls(key.row()) else {
            return;
        };
        let mut needs = Needs::of(cx, key.row(), !switch.acls().is_empty());
        for group in cx.by_id(ById::GroupsOfSwitch, key.row()) {
            if let Some(group) = cx.value::<Needs>(GroupAcls::ID, Key::Row(*group)) {
                needs = needs.and(*group);
            }
        }
        needs.balanced = some_has_vips::<LbVips>(cx, switch.load_balancer())
            || some_has_vips::<LbGroupVips>(cx, switch.load_balancer_group());
        for need in needs.named() {
            cx.emit(Output::Member(SetName::Needing(need), key.row()));
        }
        cx.publish(needs);
    }
}

/// What a switch needs. The reader lists [`SwitchAcls`] among its `READS`.
pub fn needs(cx: &Cx<'_>, switch: Uuid) -> Needs {
    cx.value::<Needs>(SwitchAcls::ID, Key::Row(switch))
        .map_or_else(Needs::default, |needs| *needs)
}

/// The switches that ACLs apply on, by what they look like in a stage.
pub type Places = Vec<(View, DpSet)>;

fn places(cx: &Cx<'_>, switches: &[Uuid], stage: AclStage) -> Places {
    let mut by_view: BTreeMap<View, Vec<Uuid>> = BTreeMap::new();
    for switch in switches {
        let view = needs(cx, *switch).view(stage);
        by_view.entry(view).or_default().push(*switch);
    }
    let sets = by_view.into_iter();
    sets.map(|(view, list)| (view, DpSet::new(list))).collect()
}

/// Publishes the [`Places`] of the ACLs of a port group, by [`AclStage`]: the ACLs share them.
pub struct GroupPlaces;

impl Feature for GroupPlaces {
    const NAME: &'static str = "acl_group_places";
    const PER: &'static [Per] = &[Per::Nb(nb::TableId::PortGroup)];
    const READS: &'static [&'static str] = &[GroupAcls::NAME, SwitchAcls::NAME];

    fn run(cx: &Cx<'_>, key: Key) {
        let group = cx.value::<Needs>(GroupAcls::ID, key);
        if group.is_some_and(|needs| needs.acls) {
            let switches = cx.by_id(ById::SwitchesOfGroup, key.row());
            cx.publish(AclStage::ALL.map(|stage| places(cx, switches, stage)));
        }
    }
}

/// Where an ACL applies. The reader lists [`SwitchAcls`] and [`GroupPlaces`] among its `READS`.
pub fn places_of(cx: &Cx<'_>, acl: Uuid, stage: AclStage) -> Places {
    let groups = cx.by_id(ById::GroupOfAcl, acl).iter();
    let of_group = |group: &Uuid| cx.value::<[Places; 3]>(GroupPlaces::ID, Key::Row(*group));
    let by_group: Vec<Arc<[Places; 3]>> = groups.filter_map(of_group).collect();
    let switches = cx.by_id(ById::SwitchOfAcl, acl);
    match (by_group.as_slice(), switches) {
        ([one], []) => one[stage as usize].clone(),
        (_, _) => {
            let listed = by_group.iter().flat_map(|places| &places[stage as usize]);
            let mut all: Vec<Uuid> = listed
                .flat_map(|(_, set)| set.as_slice())
                .copied()
                .collect();
            all.extend(switches);
            all.sort_unstable();
            all.dedup();
            places(cx, &all, stage)
        }
    }
}
