//! What a running unit sees: rows and indexes, every access recorded; and how it yields flows and rows.

use std::hash::BuildHasher;
use std::sync::Arc;

use rustc_hash::FxBuildHasher;
use weft_engine::KindId;
use weft_lang::{Action, Actions, Expr};
use weft_ovsdb::model::{Recorder, Row, Str, Uuid};
use weft_schemas::{nb, sb};

use crate::index::{AclClass, ById, ByName, Indexes, PortType, binding_id};
use crate::output::{DpSet, LogicalFlow, Origin, Output};
use crate::pipeline::Stage;
use crate::program::{Diagnostic, Fact, Key, Northd};

/// Records reads of northbound rows.
pub struct NbReads<'a>(&'a weft_engine::Cx<'a, Northd>);
/// Records reads of southbound rows.
pub struct SbReads<'a>(&'a weft_engine::Cx<'a, Northd>);

impl Recorder for NbReads<'_> {
    fn read(&self, table: u8, uuid: Uuid, columns: u64) {
        self.0.track(Fact::Nb(table, uuid.into()), columns);
    }
}

impl Recorder for SbReads<'_> {
    fn read(&self, table: u8, uuid: Uuid, columns: u64) {
        self.0.track(Fact::Sb(table, uuid.into()), columns);
    }
}

/// The view of a running unit.
pub struct Cx<'a> {
    raw: &'a weft_engine::Cx<'a, Northd>,
    nb: NbReads<'a>,
    sb: SbReads<'a>,
}

/// One accessor per table: the row seen through the recorder, `None` (and recorded as such) when there is none.
macro_rules! tables {
    ($db:ident $reads:ident $($name:ident $module:ident $row:ident)*) => {
        impl<'a> Cx<'a> {
            $(
                #[doc = concat!("The row of table `", stringify!($row), "`, recorded.")]
                pub fn $name(&self, uuid: Uuid) -> Option<<$db::$row as Row>::Ref<'_, $reads<'a>>> {
                    self.raw.inputs().$db.$module.tracked(uuid, &self.$db)
                }
            )*
        }
    };
}

tables! { nb NbReads
    nb_global nb_global NbGlobal
    ls logical_switch LogicalSwitch
    lsp logical_switch_port LogicalSwitchPort
    lr logical_router LogicalRouter
    lrp logical_router_port LogicalRouterPort
    route logical_router_static_route LogicalRouterStaticRoute
    policy logical_router_policy LogicalRouterPolicy
    nat nat Nat
    acl acl Acl
    function network_function NetworkFunction
    function_group network_function_group NetworkFunctionGroup
    function_check network_function_health_check NetworkFunctionHealthCheck
    qos qos Qos
    address_set address_set AddressSet
    port_group port_group PortGroup
    load_balancer load_balancer LoadBalancer
    load_balancer_group load_balancer_group LoadBalancerGroup
    health_check load_balancer_health_check LoadBalancerHealthCheck
    port_check logical_switch_port_health_check LogicalSwitchPortHealthCheck
    template_var chassis_template_var ChassisTemplateVar
    dhcp_options dhcp_options DhcpOptions
    dhcp_relay dhcp_relay DhcpRelay
    dns dns Dns
    meter meter Meter
    meter_band meter_band MeterBand
    ha_group ha_chassis_group HaChassisGroup
    ha_chassis ha_chassis HaChassis
    gateway_chassis gateway_chassis GatewayChassis
    static_mac static_mac_binding StaticMacBinding
    bfd bfd Bfd
    copp copp Copp
    sample sample Sample
    sample_collector sample_collector SampleCollector
    sampling_app sampling_app SamplingApp
    mirror mirror Mirror
    mirror_rule mirror_rule MirrorRule
    forwarding_group forwarding_group ForwardingGroup
}

tables! { sb SbReads
    sb_global sb_global SbGlobal
    chassis chassis Chassis
    chassis_private chassis_private ChassisPrivate
    encap encap Encap
    binding port_binding PortBinding
    mac_binding mac_binding MacBinding
    sb_bfd bfd Bfd
    fdb fdb Fdb
    service_monitor service_monitor ServiceMonitor
    igmp_group igmp_group IgmpGroup
    datapath_row datapath_binding DatapathBinding
}

impl<'a> Cx<'a> {
    pub(crate) fn new(raw: &'a weft_engine::Cx<'_, Northd>) -> Self {
        Cx {
            raw,
            nb: NbReads(raw),
            sb: SbReads(raw),
        }
    }

    fn idx(&self) -> &'a Indexes {
        &self.raw.inputs().idx
    }

    /// What the command line decides; it never changes while the program runs.
    pub fn settings(&self) -> &'a crate::program::Settings {
        &self.raw.inputs().settings
    }

    /// Records a fact that is neither a row nor an index entry.
    pub fn track(&self, fact: Fact) {
        self.raw.track(fact, 1);
    }

    /// Wakes the readers of a fact after this unit; for allocators.
    pub fn wake(&self, fact: Fact) {
        self.raw.wake(fact, 1);
    }

    /// The rows that an index has for a UUID, sorted.
    pub fn by_id(&self, index: ById, id: Uuid) -> &'a [Uuid] {
        self.raw.track(Fact::ById(index, 0, id.into()), 1);
        self.idx().by_id(index, 0, id)
    }

    /// The rows that an index has for a name, sorted.
    pub fn by_name(&self, index: ByName, name: &str) -> &'a [Uuid] {
        self.raw
            .track(Fact::ByName(index, FxBuildHasher.hash_one(name)), 1);
        self.idx().by_name(index, name)
    }

    /// All rows of a table that keeps such a list: see [`Indexes::lists_all`].
    pub fn all(&self, table: nb::TableId) -> &'a [Uuid] {
        self.raw
            .track(Fact::ById(ById::AllNb, table as u8, Uuid::ZERO.into()), 1);
        self.idx().by_id(ById::AllNb, table as u8, Uuid::ZERO)
    }

    /// All rows of a southbound table that keeps such a list.
    pub fn all_sb(&self, table: sb::TableId) -> &'a [Uuid] {
        self.raw
            .track(Fact::ById(ById::AllSb, table as u8, Uuid::ZERO.into()), 1);
        self.idx().by_id(ById::AllSb, table as u8, Uuid::ZERO)
    }

    /// The ports of a switch that have one type. Ports of other types come and go without waking the caller.
    pub fn ports_of(&self, switch: Uuid, ty: PortType) -> &'a [Uuid] {
        self.raw
            .track(Fact::ById(ById::PortsByType, ty as u8, switch.into()), 1);
        self.idx().by_id(ById::PortsByType, ty as u8, switch)
    }

    /// The ACLs of a switch or port group that ask a certain thing of the whole switch.
    pub fn acls_of(&self, owner: Uuid, class: AclClass) -> &'a [Uuid] {
        let number = class.number();
        self.raw
            .track(Fact::ById(ById::AclsByClass, number, owner.into()), 1);
        self.idx().by_id(ById::AclsByClass, number, owner)
    }

    /// The switch a port is on. A port that several switches list belongs to the one with the lowest UUID.
    pub fn switch_of(&self, port: Uuid) -> Option<Uuid> {
        self.by_id(ById::SwitchOfPort, port).first().copied()
    }

    /// The router a port is on, with the same rule.
    pub fn router_of(&self, port: Uuid) -> Option<Uuid> {
        self.by_id(ById::RouterOfPort, port).first().copied()
    }

    /// The switch port of a name.
    pub fn lsp_named(&self, name: &str) -> Option<Uuid> {
        self.by_name(ByName::SwitchPort, name).first().copied()
    }

    /// The router port of a name.
    pub fn lrp_named(&self, name: &str) -> Option<Uuid> {
        self.by_name(ByName::RouterPort, name).first().copied()
    }

    /// The switch ports of type `router` whose `options:router-port` names the router port.
    pub fn switch_ports_towards(&self, router_port: &str) -> &'a [Uuid] {
        self.by_name(ByName::SwitchPortTowards, router_port)
    }

    /// The switch or router whose datapath a southbound row is.
    pub fn nb_of_datapath(&self, datapath: Uuid) -> Option<Uuid> {
        let row = self.datapath_row(datapath)?;
        let named = |name: &str| row.external_ids().get(name)?.parse().ok();
        named("logical-switch")
            .or_else(|| named("logical-router"))
            .or_else(|| *row.nb_uuid())
    }

    /// Whether the southbound has a port with that number on a datapath with that number.
    pub fn bound(&self, datapath_key: u32, port_key: u32) -> bool {
        self.by_id(ById::DatapathByKey, Uuid(datapath_key.into()))
            .iter()
            .any(|&dp| {
                let near = self.by_id(ById::BindingByKey, binding_id(dp, port_key.into()));
                near.iter().any(|&row| {
                    self.binding(row).is_some_and(|b| {
                        *b.datapath() == dp && *b.tunnel_key() == i64::from(port_key)
                    })
                })
            })
    }

    /// The only row of `NB_Global`.
    pub fn global(&self) -> Option<nb::NbGlobalRef<'_, NbReads<'a>>> {
        self.nb_global(self.all(nb::TableId::NbGlobal).first().copied()?)
    }

    /// An option of `NB_Global`. Reads the whole column: prefer the value of a kind that publishes just what is needed.
    pub fn global_option(&self, name: &str) -> Option<Str> {
        self.global()?.options().get(name).cloned()
    }

    /// The value that the unit (`kind`, `key`) has published; see [`weft_engine::Cx::value`].
    pub fn value<T: Send + Sync + 'static>(&self, kind: KindId, key: Key) -> Option<Arc<T>> {
        self.raw.value(kind, key)
    }

    /// Sets the value of this unit.
    pub fn publish<T: PartialEq + Send + Sync + 'static>(&self, value: T) {
        self.raw.publish(value);
    }

    /// Keeps a unit alive; see [`weft_engine::Cx::demand`].
    pub fn demand(&self, kind: KindId, key: Key) {
        self.raw.demand(kind, key);
    }

    /// Owns a row, a member or a flow.
    pub fn emit(&self, output: Output) {
        self.raw.emit(output);
    }

    /// Owns a logical flow on some datapaths. `hint` is the northbound row it comes from, shown to operators. A flow that
    /// drops ends in [`Action::Drop`], also behind other actions. What goes to a controller is metered as the
    /// datapaths' `copp` says.
    pub fn flow(
        &self,
        dps: impl Into<DpSet>,
        stage: Stage,
        priority: u16,
        match_: Expr,
        actions: impl AsRef<[Action]>,
        hint: Option<Uuid>,
    ) {
        let dps = dps.into();
        if dps.is_empty() {
            return;
        }
        let match_: Str = match_.to_string().into();
        let actions = actions.as_ref();
        let text: Str = self.with_drop(actions);
        for (controller_meter, dps) in self.protection(stage.datapath(), dps, actions) {
            let flow = Arc::new(LogicalFlow {
                stage,
                priority,
                match_: Arc::clone(&match_),
                actions: Arc::clone(&text),
                controller_meter,
            });
            self.raw.emit(Output::Flow {
                flow,
                dps,
                origin: Origin {
                    hint: hint.map_or(0, Uuid::short),
                    kind: self.raw.kind_number(),
                },
            });
        }
    }

    /// Actions as text. `drop` stands alone in the language: after others the end of the list is what drops, and where
    /// drops are sampled the sample takes its place.
    fn with_drop(&self, actions: &[Action]) -> Str {
        let Some((Action::Drop, before)) = actions.split_last() else {
            return Actions(actions).to_string().into();
        };
        self.raw.track(Fact::DebugDrop, 1);
        match self.idx().debug_drop {
            Some(debug) => {
                let sampled: Vec<Action> = before.iter().cloned().chain([debug.sample()]).collect();
                Actions(&sampled).to_string().into()
            }
            None if before.is_empty() => Actions(actions).to_string().into(),
            None => Actions(before).to_string().into(),
        }
    }

    /// Reports input that cannot be used: `name` is the row's, `message` says what is wrong and what was left out.
    pub fn diagnose<R: Row>(
        &self,
        name: &str,
        uuid: Uuid,
        column: &'static str,
        message: impl Into<String>,
    ) {
        self.raw.diagnose(Diagnostic {
            table: R::TABLE,
            name: name.to_owned(),
            uuid,
            column,
            message: message.into(),
        });
    }
}
