//! `lflow-list` and `count-flows`.

use std::collections::BTreeMap;

use weft_ovsdb::model::Uuid;

use super::others;
use crate::bridge;
use crate::command::{Command, Cx, MANY};
use crate::error::{Error, fail};
use crate::records;
use crate::replica::Row;

const FLOW: &str = "Logical_Flow";
const DATAPATH: &str = "Datapath_Binding";
const GROUP: &str = "Logical_DP_Group";
const TABLES: &[&str] = &[FLOW, DATAPATH, GROUP];
/// With what `--vflows` shows beside the flows.
const ALL_TABLES: &[&str] = &[
    FLOW,
    DATAPATH,
    GROUP,
    "Port_Binding",
    "Chassis",
    "MAC_Binding",
    "Multicast_Group",
    "Chassis_Private",
    "Load_Balancer",
];

const OPTIONS: &[&str] = &["--uuid", "--ovs?", "--stats", "--vflows?"];

pub(super) const COMMANDS: &[Command] = &[
    Command::new(
        "lflow-list",
        (0, MANY),
        "[DATAPATH] [LFLOW]...",
        OPTIONS,
        ALL_TABLES,
        "list logical flows for DATAPATH",
        list,
    ),
    Command::new(
        "dump-flows",
        (0, MANY),
        "[DATAPATH] [LFLOW]...",
        OPTIONS,
        ALL_TABLES,
        "alias for lflow-list",
        list,
    ),
    Command::new(
        "count-flows",
        (0, 1),
        "[DATAPATH]",
        &[],
        TABLES,
        "count logical flows for DATAPATH",
        count,
    ),
];

/// A flow on one datapath. Ordered as listed.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Flow {
    datapath: (String, Uuid),
    egress: bool,
    table: i64,
    priority: std::cmp::Reverse<i64>,
    match_: String,
    actions: String,
    uuid: Uuid,
}

/// Names of the datapaths, and which ones a group has.
struct Datapaths {
    names: BTreeMap<Uuid, String>,
    shown: BTreeMap<Uuid, String>,
    groups: BTreeMap<Uuid, Vec<Uuid>>,
}

impl Datapaths {
    fn new(cx: &Cx<'_>) -> Self {
        let name = |row: &Row| row.key("external_ids", "name").unwrap_or("").to_string();
        let shown = |uuid: Uuid, row: &Row| {
            let aka = row
                .key("external_ids", "name2")
                .filter(|aka| !aka.is_empty());
            let aka = aka.map(|aka| format!(" aka \"{aka}\"")).unwrap_or_default();
            let name = row
                .key("external_ids", "name")
                .filter(|name| !name.is_empty());
            match name {
                Some(name) => format!("\"{name}\"{aka} ({uuid})"),
                None => format!("{aka} ({uuid})").trim_start().to_string(),
            }
        };
        Self {
            names: cx
                .db
                .rows(DATAPATH)
                .map(|(uuid, row)| (uuid, name(row)))
                .collect(),
            shown: cx
                .db
                .rows(DATAPATH)
                .map(|(uuid, row)| (uuid, shown(uuid, row)))
                .collect(),
            groups: cx
                .db
                .rows(GROUP)
                .map(|(uuid, row)| (uuid, row.refs("datapaths")))
                .collect(),
        }
    }

    /// The datapaths of a flow.
    fn of(&self, flow: &Row) -> Vec<Uuid> {
        let mut datapaths = flow.refs("logical_datapath");
        for group in flow.refs("logical_dp_group") {
            datapaths.extend(self.groups.get(&group).into_iter().flatten());
        }
        datapaths
    }
}

fn flows(cx: &Cx<'_>, datapaths: &Datapaths, only: Option<Uuid>, wanted: &[String]) -> Vec<Flow> {
    let mut flows = Vec::new();
    for (uuid, row) in cx.db.rows(FLOW) {
        if !wanted.is_empty() && !wanted.iter().any(|prefix| begins(uuid, prefix)) {
            continue;
        }
        for datapath in datapaths.of(row) {
            if only.is_some_and(|only| only != datapath) {
                continue;
            }
            let Some(name) = datapaths.names.get(&datapath) else {
                continue;
            };
            flows.push(Flow {
                datapath: (name.clone(), datapath),
                egress: row.str("pipeline") == "egress",
                table: row.int("table_id").unwrap_or(0),
                priority: std::cmp::Reverse(row.int("priority").unwrap_or(0)),
                match_: row.str("match").to_string(),
                actions: row.str("actions").to_string(),
                uuid,
            });
        }
    }
    flows.sort_unstable();
    flows
}

/// A flow is named by its UUID or the beginning of it, also as the cookie that OpenFlow shows.
fn begins(uuid: Uuid, prefix: &str) -> bool {
    let prefix = prefix
        .strip_prefix("0x")
        .unwrap_or(prefix)
        .to_ascii_lowercase();
    uuid.to_string().starts_with(&prefix)
}

fn pipeline(flow: &Flow) -> &'static str {
    if flow.egress { "egress" } else { "ingress" }
}

fn stage(cx: &Cx<'_>, flow: &Flow) -> String {
    let row = cx.db.row(FLOW, flow.uuid);
    row.and_then(|row| row.key("external_ids", "stage-name"))
        .unwrap_or("")
        .to_string()
}

fn list(cx: &mut Cx<'_>) -> Result<(), Error> {
    let mut wanted = cx.args;
    let mut only = None;
    if let Some((first, rest)) = cx.args.split_first()
        && let Some(datapath) = records::find(cx, DATAPATH, first)?
    {
        (only, wanted) = (Some(datapath), rest);
    }
    for word in wanted {
        let hex = word.strip_prefix("0x").unwrap_or(word);
        if hex.is_empty()
            || hex.len() > 36
            || !hex.chars().all(|c| c.is_ascii_hexdigit() || c == '-')
        {
            return fail(format!("{word} is not a UUID or the beginning of a UUID"));
        }
    }
    let bridge = Bridge::ask(cx);
    let datapaths = Datapaths::new(cx);
    let flows = flows(cx, &datapaths, only, wanted);
    let mut heading = None;
    for flow in &flows {
        if heading != Some((flow.datapath.1, flow.egress)) {
            heading = Some((flow.datapath.1, flow.egress));
            let shown = datapaths
                .shown
                .get(&flow.datapath.1)
                .cloned()
                .unwrap_or_default();
            cx.line(format!("Datapath: {shown}  Pipeline: {}", pipeline(flow)));
        }
        let uuid = if cx.has("--uuid") {
            format!("uuid={:#010x}, ", flow.uuid.short())
        } else {
            String::new()
        };
        let stage = stage(cx, flow);
        cx.line(format!(
            "  {uuid}table={:<2}({stage:<19}), priority={:<5}, match=({}), action=({})",
            flow.table, flow.priority.0, flow.match_, flow.actions
        ));
        bridge.show(cx, flow.uuid);
    }
    if cx.has("--vflows") {
        others::list(cx, &datapaths.names, only, &bridge);
    }
    Ok(())
}

/// The flows of the integration bridge, if they are asked for and it can be asked.
pub(super) struct Bridge(bridge::Flows);

impl Bridge {
    fn ask(cx: &Cx<'_>) -> Bridge {
        if !cx.has("--ovs") {
            return Bridge(bridge::Flows::new());
        }
        let flows = bridge::listed(cx.value("--ovs"), cx.has("--stats"));
        Bridge(flows.unwrap_or_else(|why| {
            tracing::warn!(target: "sbctl", "{why}");
            bridge::Flows::new()
        }))
    }

    /// Lists those of a row.
    pub(super) fn show(&self, cx: &mut Cx<'_>, row: Uuid) {
        for flow in self.0.get(&row.short()).into_iter().flatten() {
            cx.line(format!("    {flow}"));
        }
    }
}

fn count(cx: &mut Cx<'_>) -> Result<(), Error> {
    let datapaths = Datapaths::new(cx);
    let mut only = None;
    if let Some(name) = cx.args.first() {
        only = records::find(cx, DATAPATH, name)?;
        if only.is_none() {
            cx.line("Total number of logical flows = 0");
            return Ok(());
        }
    }
    let flows = flows(cx, &datapaths, only, &[]);
    let pipelines = flows.chunk_by(|a, b| (a.datapath.1, a.egress) == (b.datapath.1, b.egress));
    for of_pipeline in pipelines {
        let shown = datapaths
            .shown
            .get(&of_pipeline[0].datapath.1)
            .cloned()
            .unwrap_or_default();
        let pipeline = pipeline(&of_pipeline[0]);
        cx.line(format!("Datapath: {shown}  Pipeline: {pipeline}"));
        for of_table in of_pipeline.chunk_by(|a, b| a.table == b.table) {
            let stage = stage(cx, &of_table[0]);
            cx.line(format!(
                "  table={:<2}({stage:<19}) lflows={}",
                of_table[0].table,
                of_table.len()
            ));
        }
        cx.line(format!(
            "Total number of logical flows in the datapath {shown} Pipeline: {pipeline} = {}\n",
            of_pipeline.len()
        ));
    }
    cx.line(format!("Total number of logical flows = {}", flows.len()));
    Ok(())
}
