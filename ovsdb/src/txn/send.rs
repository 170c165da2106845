//! A transaction on its way: cut into pieces, without what the server does not know; and its reply read back.

use std::collections::VecDeque;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::{Cells, Op, OpError, OpResult, PIECE_OPS, Txn, TxnError};
use crate::model::Uuid;
use crate::session::ServerSchema;
use crate::wire::RpcError;

/// How many pieces are on their way at a time: while the server executes one, the next is already there.
const WINDOW: usize = 16;

/// What to do next.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Send these parameters, as JSON text: a piece with that number.
    Send(usize, String),
    /// Nothing before the next reply.
    Wait,
    /// All pieces are done.
    Done(Result<Vec<OpResult>, TxnError>),
}

/// A piece on its way.
#[derive(Debug)]
struct Piece {
    number: usize,
    /// For each operation, its place in the transaction; `None` for added ones.
    places: Vec<Option<usize>>,
    /// The place after its last operation.
    end: usize,
}

/// The state of a transaction between its pieces.
#[derive(Debug)]
pub(crate) struct Outgoing {
    database: &'static str,
    txn: Txn,
    schema: Arc<ServerSchema>,
    /// First operation not yet executed.
    done: usize,
    /// First operation not yet sent.
    sent: usize,
    pieces: usize,
    under_way: VecDeque<Piece>,
    /// The first piece that was refused; nothing is sent after it.
    refused: Option<OpError>,
    /// A piece sent after it was executed nonetheless.
    gap: bool,
    results: Vec<OpResult>,
}

impl Outgoing {
    pub(crate) fn new(database: &'static str, txn: Txn, schema: Arc<ServerSchema>) -> Self {
        let results = vec![OpResult::default(); txn.len()];
        Outgoing {
            database,
            txn,
            schema,
            done: 0,
            sent: 0,
            pieces: 0,
            under_way: VecDeque::new(),
            refused: None,
            gap: false,
            results,
        }
    }

    /// Operations committed so far, without gap.
    pub(crate) fn committed(&self) -> usize {
        self.done
    }

    /// What to do now; asked until it says to wait or to be done.
    pub(crate) fn next(&mut self) -> Progress {
        loop {
            let all_sent = self.pieces > 0 && self.sent == self.txn.len();
            if self.refused.is_some() || all_sent {
                if !self.under_way.is_empty() {
                    return Progress::Wait;
                }
                return Progress::Done(match self.refused.take() {
                    Some(error) => Err(TxnError::Refused {
                        error: Box::new(error),
                        committed: self.done,
                        gap: self.gap,
                    }),
                    None => Ok(std::mem::take(&mut self.results)),
                });
            }
            if self.under_way.len() >= WINDOW {
                return Progress::Wait;
            }
            if let Some((number, params)) = self.piece() {
                return Progress::Send(number, params);
            }
        }
    }

    /// The next piece; `None` if nothing is left of it.
    fn piece(&mut self) -> Option<(usize, String)> {
        let end = self.end_of_piece();
        let ops = &self.txn.ops[self.sent..end];
        let mut out = Vec::with_capacity(ops.iter().map(|op| op.length() + 192).sum());
        out.push(b'[');
        json_to(&mut out, &self.database);
        let mut places = Vec::with_capacity(end - self.sent + 2);
        for lock in &self.txn.locks {
            out.extend_from_slice(br#",{"op":"assert","lock":"#);
            json_to(&mut out, lock);
            out.push(b'}');
            places.push(None);
        }
        let fixed = places.len();
        for place in self.sent..end {
            let op = &mut self.txn.ops[place];
            if render(&mut out, op, &self.schema) {
                // Nobody asks again what was in it, only what it was about.
                op.forget();
                places.push(Some(place));
            } else {
                self.results[place].skipped = true;
            }
        }
        self.sent = end;
        let number = self.pieces;
        self.pieces += 1;
        // A piece of which nothing is left need not travel; an empty transaction may be one that asserts a lock.
        if places.len() == fixed && end > 0 {
            match self.under_way.back_mut() {
                Some(before) => before.end = end,
                None => self.done = end,
            }
            return None;
        }
        if let Some(comment) = &self.txn.comment {
            out.extend_from_slice(br#",{"op":"comment","comment":"#);
            json_to(&mut out, comment);
            out.push(b'}');
            places.push(None);
        }
        out.push(b']');
        self.under_way.push_back(Piece {
            number,
            places,
            end,
        });
        let text = String::from_utf8(out).expect("JSON is written as UTF-8");
        Some((number, text))
    }

    /// The last cut within reach, or else the first one beyond it.
    fn end_of_piece(&self) -> usize {
        let reach = self.sent + PIECE_OPS;
        if self.txn.len() <= reach {
            return self.txn.len();
        }
        let cuts = &self.txn.cuts;
        let first = cuts.partition_point(|&cut| cut <= self.sent);
        let beyond = cuts.partition_point(|&cut| cut <= reach);
        let cut = if beyond > first {
            Some(&cuts[beyond - 1])
        } else {
            cuts.get(first)
        };
        cut.copied().unwrap_or(self.txn.len())
    }

    /// Takes the reply to a piece.
    pub(crate) fn answer(&mut self, number: usize, reply: Result<Option<&RawValue>, RpcError>) {
        let Some(at) = self.under_way.iter().position(|p| p.number == number) else {
            return;
        };
        let Some(piece) = self.under_way.remove(at) else {
            return;
        };
        let error = match reply {
            Err(error) => Some(OpError::whole(&error)),
            Ok(reply) => self.results_of(&piece, reply),
        };
        match error {
            Some(error) => {
                self.refused.get_or_insert(error);
            }
            None if self.refused.is_some() || at > 0 => self.gap = true,
            None => self.done = piece.end,
        }
    }

    /// Reads the results of a piece; yields its error if it was refused.
    fn results_of(&mut self, piece: &Piece, reply: Option<&RawValue>) -> Option<OpError> {
        let text = reply.map_or("null", RawValue::get);
        let Ok(elements) = serde_json::from_str::<Vec<Option<Element<'_>>>>(text) else {
            let error = RpcError {
                error: "malformed reply".into(),
                details: "to a transaction".into(),
            };
            return Some(OpError::whole(&error));
        };
        for (i, element) in elements.into_iter().enumerate() {
            let place = piece.places.get(i).copied().flatten();
            let element = element.unwrap_or_default();
            if let Some(error) = element.error.filter(|error| !error.is_null()) {
                let details = element.details.unwrap_or(Json::Null);
                let whole = serde_json::json!({"error": error, "details": details});
                return Some(OpError::new(&self.txn, place, &whole));
            }
            if let Some(place) = place {
                self.results[place] = OpResult {
                    count: element.count,
                    uuid: element.uuid,
                    rows: match element.rows {
                        Some(rows) => serde_json::from_str(rows.get()).ok(),
                        None => None,
                    },
                    skipped: false,
                };
            }
        }
        None
    }
}

/// The result of an operation as it comes. Replies to large transactions hold very many.
#[derive(Deserialize, Default)]
struct Element<'a> {
    #[serde(default)]
    count: Option<u64>,
    #[serde(default)]
    uuid: Option<Uuid>,
    #[serde(borrow, default)]
    rows: Option<&'a RawValue>,
    #[serde(default)]
    error: Option<Json>,
    #[serde(default)]
    details: Option<Json>,
}

/// Appends the JSON text of a value.
fn json_to<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) {
    serde_json::to_writer(out, value).expect("JSON values have string keys only");
}

fn this_row(out: &mut Vec<u8>, uuid: Uuid) {
    out.extend_from_slice(br#","where":[["_uuid","==",["uuid",""#);
    out.extend_from_slice(uuid.to_string().as_bytes());
    out.extend_from_slice(br#""]]]"#);
}

/// Appends the members of a row that the server has columns for.
fn known(out: &mut Vec<u8>, table: &str, row: &Cells, schema: &ServerSchema) {
    out.push(b'{');
    let mut first = true;
    for (column, value) in row.iter().filter(|(c, _)| schema.has_column(table, c)) {
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        json_to(out, column);
        out.push(b':');
        out.extend_from_slice(value.as_bytes());
    }
    out.push(b'}');
}

/// Appends the operation as it goes on the wire, with a comma before it; not if the server knows nothing of what it is
/// about.
fn render(out: &mut Vec<u8>, op: &Op, schema: &ServerSchema) -> bool {
    let begin = |out: &mut Vec<u8>, name: &str, table: &str| {
        out.extend_from_slice(br#",{"op":"#);
        json_to(out, name);
        out.extend_from_slice(br#","table":"#);
        json_to(out, table);
    };
    let any_known = |table: &str, row: &Cells| {
        row.iter()
            .any(|(column, _)| schema.has_column(table, column))
    };
    match op {
        Op::Raw(op) => {
            out.push(b',');
            json_to(out, op);
            return true;
        }
        Op::Insert { table, uuid, row } if schema.has_table(table) => {
            begin(out, "insert", table);
            out.extend_from_slice(br#","uuid":""#);
            out.extend_from_slice(uuid.to_string().as_bytes());
            out.extend_from_slice(br#"","row":"#);
            known(out, table, row, schema);
        }
        Op::Update { table, uuid, row } if any_known(table, row) => {
            begin(out, "update", table);
            this_row(out, *uuid);
            out.extend_from_slice(br#","row":"#);
            known(out, table, row, schema);
        }
        Op::Mutate {
            table,
            uuid,
            mutations,
        } => {
            let known: Vec<_> = mutations
                .iter()
                .filter(|(column, ..)| schema.has_column(table, column))
                .collect();
            if known.is_empty() {
                return false;
            }
            begin(out, "mutate", table);
            this_row(out, *uuid);
            out.extend_from_slice(br#","mutations":"#);
            json_to(out, &known);
        }
        Op::Delete { table, uuid } if schema.has_table(table) => {
            begin(out, "delete", table);
            this_row(out, *uuid);
        }
        Op::Wait {
            table,
            uuid,
            timeout_ms,
            equal,
            row,
        } if any_known(table, row) => {
            begin(out, "wait", table);
            this_row(out, *uuid);
            out.extend_from_slice(br#","timeout":"#);
            json_to(out, timeout_ms);
            out.extend_from_slice(br#","columns":"#);
            let columns: Vec<&str> = row
                .iter()
                .map(|(column, _)| column)
                .filter(|column| schema.has_column(table, column))
                .collect();
            json_to(out, &columns);
            out.extend_from_slice(br#","until":"#);
            json_to(out, if *equal { "==" } else { "!=" });
            out.extend_from_slice(br#","rows":["#);
            known(out, table, row, schema);
            out.push(b']');
        }
        _ => return false,
    }
    out.push(b'}');
    true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::OpErrorKind;
    use super::*;

    fn sent(progress: Progress) -> (usize, Vec<Json>) {
        let Progress::Send(number, params) = progress else {
            panic!("{progress:?}")
        };
        (number, serde_json::from_str(&params).unwrap())
    }

    fn schema() -> Arc<ServerSchema> {
        let text = r#"{"name":"t","version":"1.0.0","tables":{"A":{"columns":{"name":{"type":"string"}}}}}"#;
        Arc::new(serde_json::from_str(text).unwrap())
    }

    fn insert(table: &'static str, uuid: u128, columns: &[&'static str]) -> Op {
        let row = Cells::of(columns.iter().map(|column| (*column, r#""x""#)));
        Op::Insert {
            table,
            uuid: Uuid(uuid),
            row,
        }
    }

    fn reply(text: &str) -> Box<RawValue> {
        RawValue::from_string(text.to_owned()).unwrap()
    }

    #[test]
    fn what_the_server_does_not_know_is_left_out() {
        let txn = Txn {
            ops: vec![
                insert("New", 1, &["name"]),
                insert("A", 2, &["name", "newer"]),
            ],
            ..Txn::default()
        };
        let mut out = Outgoing::new("t", txn, schema());
        let (number, params) = sent(out.next());
        assert_eq!(params.len(), 2);
        assert_eq!(params[1]["row"], json!({"name": "x"}));
        assert!(matches!(out.next(), Progress::Wait));
        let answer = reply(r#"[{"uuid":["uuid","00000000-0000-0000-0000-000000000002"]}]"#);
        out.answer(number, Ok(Some(&answer)));
        let done = out.next();
        let Progress::Done(Ok(results)) = done else {
            panic!("{done:?}")
        };
        assert!(results[0].skipped);
        assert_eq!(results[1].uuid, Some(Uuid(2)));
    }

    #[test]
    fn large_transactions_are_cut_where_allowed() {
        let mut txn = Txn::new();
        txn.assert_lock("l").comment("c");
        for i in 0..(PIECE_OPS as u128 * 5) {
            txn.ops.push(insert("A", i, &["name"]));
            if i % 30 == 29 {
                txn.may_cut();
            }
        }
        let mut out = Outgoing::new("t", txn, schema());
        let mut sizes = Vec::new();
        loop {
            match out.next() {
                Progress::Send(_, params) => {
                    let params: Vec<Json> = serde_json::from_str(&params).unwrap();
                    assert_eq!(params[1]["op"], "assert");
                    assert_eq!(params.last().unwrap()["op"], "comment");
                    sizes.push(params.len() - 3);
                }
                Progress::Wait => {
                    let first = out.under_way[0].number;
                    out.answer(first, Ok(Some(&reply("[]"))));
                }
                Progress::Done(result) => {
                    assert_eq!(result.unwrap().len(), PIECE_OPS * 5);
                    break;
                }
            }
        }
        assert_eq!(sizes, [90, 90, 90, 90, 90, 50]);
    }

    /// Pieces that were already on their way when one before them was refused may have been executed.
    #[test]
    fn pieces_behind_a_refused_one() {
        let refusal = r#"[null,{"error":"constraint violation","details":"x"}]"#;
        for (last, gap) in [("[]", true), (refusal, false)] {
            let mut txn = Txn::new();
            for i in 0..(PIECE_OPS * (WINDOW + 2)) as u128 {
                txn.ops.push(insert("A", i, &["name"]));
                txn.may_cut();
            }
            let mut out = Outgoing::new("t", txn, schema());
            for number in 0..WINDOW {
                assert_eq!(sent(out.next()).0, number);
            }
            assert!(matches!(out.next(), Progress::Wait));
            out.answer(0, Ok(Some(&reply("[]"))));
            assert_eq!(sent(out.next()).0, WINDOW);
            for number in 1..WINDOW {
                out.answer(number, Ok(Some(&reply(refusal))));
                assert!(matches!(out.next(), Progress::Wait));
            }
            out.answer(WINDOW, Ok(Some(&reply(last))));
            let Progress::Done(Err(TxnError::Refused {
                committed,
                gap: was,
                error,
            })) = out.next()
            else {
                panic!()
            };
            assert_eq!(
                (committed, was, error.op),
                (PIECE_OPS, gap, Some(PIECE_OPS + 1))
            );
        }
    }

    #[test]
    fn errors_are_traced_to_their_rows() {
        let refused = |text: &str| {
            let mut txn = Txn {
                ops: vec![insert("A", 1, &["name"]), insert("A", 2, &["name"])],
                ..Txn::default()
            };
            txn.assert_lock("l");
            let mut out = Outgoing::new("t", txn, schema());
            let (number, _) = sent(out.next());
            out.answer(number, Ok(Some(&reply(text))));
            let Progress::Done(Err(error)) = out.next() else {
                panic!()
            };
            error.refusal().unwrap().clone()
        };
        // As ovsdb-server 3.1 words them.
        let error = refused(
            r#"[{},{"uuid":["uuid","00000000-0000-0000-0000-000000000001"]},{},{"details":"Transaction causes multiple rows in \"A\" table to have identical values (x) for index on column \"name\".  First row, with UUID 00000000-0000-0000-0000-000000000002, was inserted by this transaction.  Second row, with UUID 00000000-0000-0000-0000-000000000009, existed in the database before this transaction and was not modified by the transaction.","error":"constraint violation"}]"#,
        );
        assert_eq!(error.kind, OpErrorKind::ConstraintViolation);
        assert_eq!(
            (error.op, error.row, error.named.len()),
            (Some(1), Some(Uuid(2)), 2)
        );
        assert_eq!(
            (error.table.as_deref(), error.column.as_deref()),
            (Some("A"), Some("name"))
        );
        let error = refused(
            r#"[{},{},{"details":"99 is not in the valid range 0 to 10 (inclusive)","error":"constraint violation"}]"#,
        );
        assert_eq!((error.op, error.row), (Some(1), Some(Uuid(2))));
        let error =
            refused(r#"[{"details":"Asserted lock l not held.","error":"not owner"},null,null]"#);
        assert_eq!((error.kind, error.op), (OpErrorKind::NotOwner, None));
        let error = refused(
            r#"[{},{},{},{"details":"Table A column b row 00000000-0000-0000-0000-000000000001 references nonexistent row 00000000-0000-0000-0000-000000000009 in table B.","error":"referential integrity violation"}]"#,
        );
        assert_eq!(
            (error.kind, error.op, error.column.as_deref()),
            (OpErrorKind::ReferentialIntegrity, Some(0), Some("b"))
        );
    }
}
