//! The connection to the integration bridge: made, kept, read back; batches sent over it.

use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use weft_openflow::conn::{Conn, ConnError, Event};
use weft_openflow::{
    CtFlush, FlowSelect, FlowStats, GroupDesc, Message, MeterDesc, MeterMod, TlvCommand, TlvMap,
};

use crate::install::{Batch, Subject};
use crate::pinctrl::intake::Intake;

/// What happens to the connection.
pub enum Link {
    /// It is up, and this is what the bridge has.
    Up {
        /// The connection.
        conn: Conn,
        /// Flows there.
        flows: Vec<FlowStats>,
        /// Groups there.
        groups: Vec<GroupDesc>,
        /// Meters there.
        meters: Vec<MeterDesc>,
    },
    /// The switch says something unasked.
    Said(Box<Event>),
    /// It is gone; another attempt follows.
    Down {
        /// Why, for people.
        reason: String,
    },
}

/// First wait between attempts; doubled up to [`MAX_BACKOFF`].
const MIN_BACKOFF: Duration = Duration::from_millis(100);
/// ovs-vswitchd is on this host and its restart takes a second: waiting longer only keeps flows out.
const MAX_BACKOFF: Duration = Duration::from_secs(1);

/// Keeps a connection to `target` and tells of it until `links` is closed.
pub async fn keep_connected(target: String, links: mpsc::UnboundedSender<Link>, intake: Intake) {
    let mut backoff = MIN_BACKOFF;
    let mut last = String::new();
    while !links.is_closed() {
        let reason = match serve(&target, &links, &intake, &mut backoff).await {
            Ok(()) => "connection closed by the switch".to_string(),
            Err(why) => why.to_string(),
        };
        if reason != last {
            last.clone_from(&reason);
            if links.send(Link::Down { reason }).is_err() {
                return;
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(MAX_BACKOFF);
    }
}

async fn serve(
    target: &str,
    links: &mpsc::UnboundedSender<Link>,
    intake: &Intake,
    backoff: &mut Duration,
) -> Result<(), ConnError> {
    let (conn, mut events) = Conn::connect(target).await?;
    map_tunnel_option(&conn).await?;
    let flows = conn.dump_flows(FlowSelect::default()).await?;
    let groups = conn.dump_groups().await?;
    // A datapath without meters answers with an error: then there are none.
    let meters = match conn.dump_meters().await {
        Err(ConnError::Switch(_)) => Vec::new(),
        other => other?,
    };
    *backoff = MIN_BACKOFF;
    intake.clear();
    if links
        .send(Link::Up {
            conn,
            flows,
            groups,
            meters,
        })
        .is_err()
    {
        return Ok(());
    }
    while let Some(event) = events.recv().await {
        if let Event::PacketIn(packet) = event {
            intake.offer(packet, Instant::now());
            continue;
        }
        if links.send(Link::Said(Box::new(event))).is_err() {
            return Ok(());
        }
    }
    // Told even if it is the same reason as before: the connection was up in between.
    let _ = links.send(Link::Down {
        reason: "connection closed by the switch".into(),
    });
    Ok(())
}

/// OVN's Geneve option becomes `tun_metadata0`. A table that says something else is in nobody's hands but ours.
async fn map_tunnel_option(conn: &Conn) -> Result<(), ConnError> {
    let table = conn.tlv_table().await?;
    if table.maps.contains(&TlvMap::OVN_GENEVE) {
        return Ok(());
    }
    let clash = |map: &&TlvMap| {
        let ours = TlvMap::OVN_GENEVE;
        map.index == ours.index || (map.class, map.kind) == (ours.class, ours.kind)
    };
    let in_the_way: Vec<TlvMap> = table.maps.iter().filter(clash).copied().collect();
    if !in_the_way.is_empty() {
        conn.send(&Message::TlvTableMod(TlvCommand::Delete, in_the_way))
            .await?;
    }
    conn.send(&Message::TlvTableMod(
        TlvCommand::Add,
        vec![TlvMap::OVN_GENEVE],
    ))
    .await?;
    conn.barrier().await
}

/// The flows of some tables.
pub async fn count(conn: &Conn, tables: &[u8]) -> Result<Vec<FlowStats>, ConnError> {
    let mut flows = Vec::new();
    for &table in tables {
        let select = FlowSelect {
            table,
            ..FlowSelect::default()
        };
        flows.extend(conn.dump_flows(select).await?);
    }
    Ok(flows)
}

/// Sends a batch and waits until it is done; returns what was refused.
pub async fn send(
    conn: Conn,
    batch: Batch,
    zones: Vec<u16>,
    flushes: Vec<CtFlush>,
) -> Result<Vec<(Subject, String)>, ConnError> {
    flush_zones(&conn, zones).await?;
    let Batch {
        before,
        bundle,
        after,
    } = batch;
    let mut refused = meters(&conn, before).await?;
    if !bundle.is_empty() {
        let bad = conn.install(bundle).await?;
        refused.extend(
            bad.into_iter()
                .map(|(step, why)| (step.subject(), why.to_string())),
        );
    }
    refused.extend(meters(&conn, after).await?);
    flush(&conn, flushes).await?;
    Ok(refused)
}

/// Forgets the connections of zones that get another owner.
pub(super) async fn flush_zones(conn: &Conn, zones: Vec<u16>) -> Result<(), ConnError> {
    for zone in zones {
        conn.send(&Message::CtFlushZone(zone)).await?;
    }
    Ok(())
}

/// Forgets connections, now that nothing chooses their backends any more.
pub(super) async fn flush(conn: &Conn, flushes: Vec<CtFlush>) -> Result<(), ConnError> {
    for flush in flushes {
        conn.send(&Message::CtFlush(Box::new(flush))).await?;
    }
    Ok(())
}

/// Sends changes of meters; returns what was refused.
pub(super) async fn meters(
    conn: &Conn,
    mods: Vec<MeterMod>,
) -> Result<Vec<(Subject, String)>, ConnError> {
    let ids: Vec<u32> = mods.iter().map(|meter| meter.meter_id).collect();
    let messages: Vec<Message> = mods.into_iter().map(Message::MeterMod).collect();
    let bad = conn.send_all(&messages).await?;
    let named = |(at, why): (usize, ConnError)| (Subject::Meter(ids[at]), why.to_string());
    Ok(bad.into_iter().map(named).collect())
}
