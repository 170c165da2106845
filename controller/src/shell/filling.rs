//! The first filling of an empty bridge: flows go to the switch while the rest is still computed.
//!
//! They go into one bundle that is committed when everything is known, so that until then the bridge has nothing and from
//! then on everything; the switch reads them meanwhile. Should anything be wrong with the bundle (the switch gives one up to
//! which nothing is added for ten seconds), all is sent anew.

use tokio::sync::mpsc;
use weft_openflow::CtFlush;
use weft_openflow::conn::{Bundle, Conn, ConnError};

use super::openflow;
use super::{Done, Shell};
use crate::install::{Batch, Subject};

/// A bridge with more flows than this has been in use: what differs is sent when all is known.
const EMPTY: usize = 1;

/// What goes to the bundle.
enum Part {
    More(Batch),
    Commit {
        last: Batch,
        number: u64,
        nb_cfg: Option<i64>,
        zones: Vec<u16>,
        flushes: Vec<CtFlush>,
    },
}

/// A bundle being filled.
pub(super) struct Filling(mpsc::UnboundedSender<Part>);

impl Shell {
    /// The bridge has so many flows: whether it is to be filled.
    pub(super) fn look_for_filling(&mut self, flows: usize) {
        self.filling = None;
        self.fill = flows <= EMPTY && !self.settled;
    }

    /// Sends what is wanted so far, if the bridge is empty.
    pub(super) fn fill_ahead(&mut self) {
        let Some(conn) = self.conn.clone().filter(|_| self.fill && self.sb_known) else {
            return;
        };
        if !self.install.dirty {
            return;
        }
        self.install.dirty = false;
        let batch = self.installer.batch();
        if batch.is_empty() {
            return;
        }
        tracing::debug!(target: "ofctrl", "{} messages ahead to the integration bridge", batch.bundle.len());
        let filling = self.filling.get_or_insert_with(|| {
            let (parts, to_send) = mpsc::unbounded_channel();
            let done = self.done_sender.clone();
            tokio::spawn(async move {
                if let Some(outcome) = fill(conn, to_send).await {
                    let _ = done.send(outcome);
                }
            });
            Filling(parts)
        });
        // If the task has ended the connection has, too.
        let _ = filling.0.send(Part::More(batch));
    }

    /// Ends the filling with what is missing still; all of that comes back if there is no filling under way.
    pub(super) fn finish_filling(
        &mut self,
        last: Batch,
        number: u64,
        nb_cfg: Option<i64>,
        (zones, flushes): (Vec<u16>, Vec<CtFlush>),
    ) -> Result<(), (Batch, Vec<u16>, Vec<CtFlush>)> {
        self.fill = false;
        let Some(filling) = self.filling.take() else {
            return Err((last, zones, flushes));
        };
        let commit = Part::Commit {
            last,
            number,
            nb_cfg,
            zones,
            flushes,
        };
        self.install.busy = true;
        // If the task has ended the connection has, too, and the next one is read back.
        if filling.0.send(commit).is_err() {
            self.install.busy = false;
        }
        Ok(())
    }
}

/// Fills a bundle with what comes; nothing if it is not to be committed.
async fn fill(conn: Conn, mut parts: mpsc::UnboundedReceiver<Part>) -> Option<Done> {
    let mut refused = Vec::new();
    let mut bundle: Result<Option<Bundle>, ConnError> = Ok(None);
    loop {
        match parts.recv().await? {
            Part::More(batch) => {
                if let Ok(open) = bundle {
                    bundle = add(&conn, open, batch, &mut refused).await.map(Some);
                }
            }
            Part::Commit {
                last,
                number,
                nb_cfg,
                zones,
                flushes,
            } => {
                let outcome = match bundle {
                    Ok(open) => match openflow::flush_zones(&conn, zones).await {
                        Ok(()) => add(&conn, open, last, &mut refused).await,
                        Err(why) => Err(why),
                    },
                    Err(why) => Err(why),
                };
                let outcome = match outcome {
                    Ok(bundle) => bundle.commit().await,
                    Err(why) => Err(why.into()),
                };
                if outcome.is_ok() {
                    // A broken connection is noticed by whoever comes next.
                    drop(openflow::flush(&conn, flushes).await);
                }
                return Some(Done::Filled {
                    number,
                    nb_cfg,
                    refused,
                    result: outcome.map_err(|why| why.to_string()),
                });
            }
        }
    }
}

/// Adds to a bundle, opened if there is none, and sends the meters that belong to it.
async fn add(
    conn: &Conn,
    open: Option<Bundle>,
    batch: Batch,
    refused: &mut Vec<(Subject, String)>,
) -> Result<Bundle, ConnError> {
    let mut bundle = match open {
        Some(bundle) => bundle,
        None => conn.open_bundle().await?,
    };
    refused.extend(openflow::meters(conn, batch.before).await?);
    bundle.add(&batch.bundle).await?;
    refused.extend(openflow::meters(conn, batch.after).await?);
    Ok(bundle)
}
