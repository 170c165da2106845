//! Logical flows to OpenFlow flows.
//!
//! One unit per row of Logical_Flow. It yields flows for each datapath of the row that matters here; what does not depend
//! on the datapath (parsing always, matches and actions mostly) is done once for all of them.

use std::sync::{Arc, LazyLock, OnceLock};

use dashmap::DashMap;
use rustc_hash::{FxBuildHasher, FxHashMap};
use weft_engine::{Cx, Kind};
use weft_lang::action::Action as Logical;
use weft_lang::env::Env;
use weft_lang::lower::{FlowKind, FlowMatch, Lowered, to_openflow};
use weft_lang::options::OptionType;
use weft_lang::template::SetFlows;
use weft_lang::{
    Expr, Field, Int, OfField, Pipeline, Templated, parse_actions, parse_match, to_templates,
};
use weft_openflow::{Field as Of, Match};
use weft_ovsdb::model::{Str, Uuid};
use weft_schemas::sb;

use crate::actions::dhcp::OptionRow;
use crate::actions::{self, Encoded};
use crate::address_set::{self, Open};
use crate::binding::{BINDING, Place};
use crate::flow::{Actions, Body, Clause, ConjId, Flow};
use crate::index::Index;
use crate::local_datapaths::{LOCAL, Local};
use crate::physical::port_key;
use crate::port_group;
use crate::program::{Controller, Diagnostic, Key, Output, Read, SbRead};
use crate::template::{self, TEMPLATE, Variables};
use crate::tunnels::{TUNNEL, Tunnels};

/// Emits the flows of a logical flow; keyed by its row.
pub const LFLOW: Kind<Controller> = Kind::pure(
    "logical-flow",
    &[
        "local-datapath",
        "datapath-group",
        "binding",
        "template",
        "address-set",
        "address-part",
        "port-group",
        "tunnel",
    ],
    lflow,
);
/// Publishes [`LocalMembers`]; keyed by row of Logical_DP_Group.
pub const DATAPATH_GROUP: Kind<Controller> =
    Kind::pure("datapath-group", &["local-datapath"], datapath_group);

/// The datapaths of a group that matter here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalMembers(pub Vec<(Uuid, Local)>);

fn datapath_group(cx: &Cx<'_, Controller>, key: Key) {
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().logical_dp_group.tracked(key.row(), &rec) else {
        return;
    };
    let local = |&uuid: &Uuid| {
        Some((
            uuid,
            (*cx.value::<Local>(LOCAL.id(), Key::Row(uuid))?).clone(),
        ))
    };
    let members: Vec<(Uuid, Local)> = row.datapaths().iter().filter_map(local).collect();
    if !members.is_empty() {
        cx.publish(LocalMembers(members));
    }
}

fn lflow(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let rec = cx.sb_rec();
    let Some(row) = cx.sb().logical_flow.tracked(uuid, &rec) else {
        return;
    };
    let datapaths = datapaths(cx, row);
    if datapaths.is_empty() || !its_port_is_here(cx, row, &datapaths) {
        return;
    }
    let problem = |column: &'static str, message: String| {
        cx.diagnose(Diagnostic {
            row: describe(row),
            column,
            message,
            uuid,
        });
    };
    let pipeline = if &**row.pipeline() == "egress" {
        Pipeline::Egress
    } else {
        Pipeline::Ingress
    };
    let table = u8::try_from(*row.table_id()).unwrap_or(u8::MAX);
    let of_table = match actions::of_table(pipeline, table) {
        Ok(of_table) => of_table,
        Err(why) => return problem("table_id", format!("{why}: left out")),
    };
    let Some((match_, list)) = expanded(cx, row) else {
        return;
    };
    let parsed = match parse(&match_, &list) {
        Ok(parsed) => parsed,
        Err((column, message)) => return problem(column, format!("{message}: left out")),
    };
    let target = Target {
        table: of_table,
        priority: u16::try_from(*row.priority()).unwrap_or(u16::MAX),
        uuid,
    };
    let mut shared = Shared::default();
    let mut open = Vec::new();
    for (datapath, local) in &datapaths {
        let scope = Scope {
            cx,
            pipeline,
            datapath: *datapath,
            key: local.key,
        };
        let (lowered, sets) = &*shared.lower(&parsed.expr, &scope);
        for text in &lowered.inexpressible {
            problem("match", format!("OpenFlow cannot test {text}: never true"));
        }
        if lowered.flows.is_empty() && sets.is_empty() {
            continue;
        }
        let context = actions::Context {
            pipeline,
            table,
            cookie: uuid.short(),
            dp_key: local.key,
            is_router: local.is_router,
            controller_meter: row.controller_meter().clone(),
            port_key: &|name| scope.port(name),
            is_resident: &|name| scope.is_resident(name),
            tunnel_to: &|name| scope.tunnel_to(name),
            has_meter: &|name| {
                cx.lookup_one(Index::MeterByName, name).is_some() || name.starts_with("__set_meter")
            },
            dhcp_option: &|v6, name| dhcp_option(cx, v6, name),
        };
        match shared.encode(&context, &parsed.actions) {
            Ok(encoded) => {
                encoded
                    .own_meters
                    .iter()
                    .for_each(|meter| cx.emit(Output::Meter(Arc::clone(meter))));
                for why in &encoded.left_out {
                    problem("actions", format!("{why}: left out of them"));
                }
                for flow in &lowered.flows {
                    target.emit(cx, local.key, flow, &encoded.actions);
                }
                if !sets.is_empty() {
                    open.push(Open {
                        dp_key: local.key,
                        sets: sets.clone(),
                        actions: Arc::clone(&encoded.actions),
                    });
                }
            }
            Err(why) => problem("actions", format!("{why}: left out")),
        }
    }
    address_set::leave_open(cx, target, open);
}

/// The option of a name that the southbound has.
fn dhcp_option(cx: &Cx<'_, Controller>, v6: bool, name: &str) -> Option<OptionRow> {
    let rec = cx.sb_rec();
    let uuid = cx.lookup_one(Index::DhcpOptionByName, (v6, name))?;
    let (code, ty) = if v6 {
        let row = cx.sb().dhcpv6_options.tracked(uuid, &rec)?;
        (*row.code(), row.type_().clone())
    } else {
        let row = cx.sb().dhcp_options.tracked(uuid, &rec)?;
        (*row.code(), row.type_().clone())
    };
    Some(OptionRow {
        code: u8::try_from(code).ok()?,
        ty: OptionType::from_name(&ty)?,
    })
}

type FlowRef<'a, 'x, 'y> = sb::LogicalFlowRef<'a, SbRead<'x, 'y>>;

/// Match and actions with the values of this chassis in the places of template variables; `None` if it has none of them.
fn expanded(cx: &Cx<'_, Controller>, row: FlowRef<'_, '_, '_>) -> Option<(Str, Str)> {
    let (match_, actions) = (row.match_().clone(), row.actions().clone());
    if !template::has_variables(&match_) && !template::has_variables(&actions) {
        return Some((match_, actions));
    }
    let variables = cx.value::<Variables>(TEMPLATE.id(), Key::Global)?;
    Some((variables.expand(&match_)?, variables.expand(&actions)?))
}

/// The datapaths of the row that matter here.
fn datapaths(cx: &Cx<'_, Controller>, row: FlowRef<'_, '_, '_>) -> Vec<(Uuid, Local)> {
    let mut all = Vec::new();
    if let Some(datapath) = *row.logical_datapath()
        && let Some(local) = cx.value::<Local>(LOCAL.id(), Key::Row(datapath))
    {
        all.push((datapath, (*local).clone()));
    }
    if let Some(group) = *row.logical_dp_group()
        && let Some(members) = cx.value::<LocalMembers>(DATAPATH_GROUP.id(), Key::Row(group))
    {
        all.extend(
            members
                .0
                .iter()
                .filter(|(uuid, _)| Some(*uuid) != *row.logical_datapath())
                .cloned(),
        );
    }
    all
}

/// Whether the port that northd says a flow of a switch is about (`tags:in_out_port`) is here; if it is not, no packet
/// can match.
fn its_port_is_here(
    cx: &Cx<'_, Controller>,
    row: FlowRef<'_, '_, '_>,
    datapaths: &[(Uuid, Local)],
) -> bool {
    let Some(name) = row.tags().nonempty("in_out_port") else {
        return true;
    };
    if datapaths.iter().any(|(_, local)| local.is_router) {
        return true;
    }
    let Some(port) = cx.lookup_one(Index::PortByName, &**name) else {
        return true;
    };
    cx.value::<Place>(BINDING.id(), Key::Row(port))
        .is_none_or(|place| place.is_here())
}

fn describe(row: FlowRef<'_, '_, '_>) -> String {
    format!(
        "Logical_Flow {} table={} priority={} match=({}) actions=({})",
        row.pipeline(),
        row.table_id(),
        row.priority(),
        row.match_(),
        row.actions()
    )
}

/// Where the flows of a row go.
#[derive(PartialEq)]
pub(crate) struct Target {
    table: u8,
    priority: u16,
    /// The row.
    pub(crate) uuid: Uuid,
}

impl Target {
    pub(crate) fn emit(
        &self,
        cx: &Cx<'_, Controller>,
        dp_key: u32,
        flow: &FlowMatch,
        actions: &Arc<Actions>,
    ) {
        let matches = matches(dp_key, flow);
        let id = |n: u32| ConjId::new(self.uuid, n);
        let put = |body: Body| {
            cx.emit(Output::Flow(Arc::new(Flow {
                table: self.table,
                priority: self.priority,
                cookie: self.uuid.short(),
                matches: matches.clone(),
                body,
            })));
        };
        match &flow.kind {
            FlowKind::Apply => put(Body::Actions(Arc::clone(actions))),
            FlowKind::ApplyConjunction(n) => put(Body::Conjunction(id(*n), Arc::clone(actions))),
            FlowKind::Clauses(clauses) => clauses.iter().for_each(|clause| {
                put(Body::Clause(Clause {
                    id: id(clause.group),
                    clause: clause.dimension + 1,
                    n_clauses: clause.dimensions,
                }));
            }),
        }
    }
}

fn matches(dp_key: u32, flow: &FlowMatch) -> Match {
    let datapath = (Of::Metadata, dp_key.into(), Of::Metadata.full_mask());
    let fields = flow.fields.iter();
    let fields = fields.filter_map(|bits| Some((of_field(bits.field)?, bits.value, bits.mask)));
    std::iter::once(datapath).chain(fields).collect()
}

/// A field of the language as a field of OpenFlow.
pub(crate) fn of_field(field: OfField) -> Option<Of> {
    static TABLE: OnceLock<FxHashMap<OfField, Of>> = OnceLock::new();
    let table = TABLE.get_or_init(|| {
        OfField::NAMED
            .iter()
            .filter_map(|&named| Some((named, Of::from_name(named.name())?)))
            .collect()
    });
    match field {
        OfField::Reg(n) => Some(Of::reg(n)),
        other => table.get(&other).copied(),
    }
}

/// What has been made for one datapath and serves others as well.
#[derive(Default)]
struct Shared {
    lowered: Option<Arc<(Lowered, Vec<SetFlows>)>>,
    encoded: Vec<(bool, Arc<Done>)>,
}

/// Encoded actions, shared by all flows of the row.
struct Done {
    actions: Arc<Actions>,
    own_meters: Vec<Arc<crate::flow::MeterSpec>>,
    left_out: Vec<actions::Unsupported>,
}

impl Shared {
    /// The flows of a match, and what large sets bring to them.
    fn lower(&mut self, expr: &Expr, scope: &Scope<'_, '_>) -> Arc<(Lowered, Vec<SetFlows>)> {
        if let Some(lowered) = &self.lowered {
            return Arc::clone(lowered);
        }
        let large = |name: &str| address_set::is_large(scope.cx, name);
        let lowered = Arc::new(match to_templates(expr, scope, large) {
            Some(Templated { rest, sets }) => (rest, sets),
            None => (to_openflow(expr, scope), Vec::new()),
        });
        if lowered.0.asked.is_empty() {
            self.lowered = Some(Arc::clone(&lowered));
        }
        lowered
    }

    fn encode(
        &mut self,
        context: &actions::Context<'_>,
        list: &[Logical],
    ) -> Result<Arc<Done>, actions::Unsupported> {
        if let Some((_, done)) = self
            .encoded
            .iter()
            .find(|(is_router, _)| *is_router == context.is_router)
        {
            return Ok(Arc::clone(done));
        }
        let Encoded {
            actions,
            own_meters,
            datapath_bound,
            left_out,
        } = actions::encode(context, list)?;
        let done = Arc::new(Done {
            actions: Arc::new(actions),
            own_meters,
            left_out,
        });
        if !datapath_bound {
            self.encoded.push((context.is_router, Arc::clone(&done)));
        }
        Ok(done)
    }
}

/// Resolves names on one datapath, recording what is read.
struct Scope<'x, 'y> {
    cx: &'x Cx<'y, Controller>,
    pipeline: Pipeline,
    datapath: Uuid,
    key: u32,
}

impl Scope<'_, '_> {
    /// The key of a port of this datapath.
    fn own_port(&self, name: &str) -> Option<u32> {
        let rec = self.cx.sb_rec();
        let uuid = self.cx.lookup_one(Index::PortByName, name)?;
        let row = self.cx.sb().port_binding.tracked(uuid, &rec)?;
        if *row.datapath() != self.datapath {
            None
        } else {
            port_key(*row.tunnel_key())
        }
    }
}

impl Scope<'_, '_> {
    /// The OpenFlow port of the tunnel to where a port is.
    fn tunnel_to(&self, name: &str) -> Option<u32> {
        let uuid = self.cx.lookup_one(Index::PortByName, name)?;
        let rec = self.cx.sb_rec();
        let chassis = (*self.cx.sb().port_binding.tracked(uuid, &rec)?.chassis())?;
        let tunnels = self.cx.value::<Tunnels>(TUNNEL.id(), Key::Row(chassis))?;
        tunnels.choose(&[], 0).map(|tunnel| tunnel.ofport)
    }
}

impl Env for Scope<'_, '_> {
    fn port(&self, name: &str) -> Option<u32> {
        // What `get_fdb` leaves in outport when it finds nothing; northd writes it as a name.
        if name == "none" {
            return Some(0);
        }
        if let Some(key) = self.own_port(name) {
            return Some(key);
        }
        let rec = self.cx.sb_rec();
        let group = self
            .cx
            .lookup_one(Index::MulticastByName, (self.datapath, name))?;
        port_key(
            *self
                .cx
                .sb()
                .multicast_group
                .tracked(group, &rec)?
                .tunnel_key(),
        )
    }

    fn address_set(&self, name: &str) -> Option<Vec<Int>> {
        address_set::members(self.cx, name)
    }

    fn port_group(&self, field: Field, name: &str) -> Option<Vec<u32>> {
        port_group::members(
            self.cx,
            name,
            (self.datapath, self.key),
            (self.pipeline, field),
        )
    }

    fn is_resident(&self, port: &str) -> bool {
        let Some(uuid) = self.cx.lookup_one(Index::PortByName, port) else {
            return false;
        };
        self.cx
            .value::<Place>(BINDING.id(), Key::Row(uuid))
            .is_some_and(|place| place.is_here())
    }
}

/// A parsed logical flow: its match with all that its actions presuppose, and its actions.
#[derive(Debug)]
struct Parsed {
    expr: Expr,
    actions: Vec<Logical>,
}

/// Rows with the same text are many, and parsing is most of the work of a first compile: within one run of the engine, texts
/// parsed lately are kept.
static PARSED: LazyLock<DashMap<(Str, Str), Arc<Parsed>, FxBuildHasher>> =
    LazyLock::new(DashMap::default);

/// Forgets the texts: a change after the first compile has few, and they seldom come again.
pub fn forget_parsed() {
    PARSED.clear();
    PARSED.shrink_to_fit();
}

/// Texts kept at most; beyond, all are dropped.
const MAX_PARSED: usize = 20_000;

fn parse(match_: &Str, actions: &Str) -> Result<Arc<Parsed>, (&'static str, String)> {
    let key = (match_.clone(), actions.clone());
    if let Some(parsed) = PARSED.get(&key) {
        return Ok(Arc::clone(&parsed));
    }
    let expr = parse_match(match_).map_err(|why| ("match", why.to_string()))?;
    let list = parse_actions(actions).map_err(|why| ("actions", why.to_string()))?;
    let expr = Expr::all([expr, weft_lang::check::action_prerequisites(&list)]);
    let parsed = Arc::new(Parsed {
        expr,
        actions: list,
    });
    if PARSED.len() >= MAX_PARSED {
        PARSED.clear();
    }
    PARSED.insert(key, Arc::clone(&parsed));
    Ok(parsed)
}
