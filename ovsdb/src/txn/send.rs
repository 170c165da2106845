//! A transaction on its way: cut into pieces, without what the server does not know; and its reply read back.

use std::sync::Arc;

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

use super::{Op, OpError, OpResult, PIECE_OPS, Txn, TxnError};
use crate::model::Uuid;
use crate::session::ServerSchema;
use crate::wire::RpcError;

/// What to do after a reply.
#[derive(Debug)]
pub(crate) enum Progress {
    /// Send these parameters.
    Send(Vec<Json>),
    /// All pieces are done.
    Done(Result<Vec<OpResult>, TxnError>),
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
    /// For each operation of the piece under way, its place in the transaction; `None` for added ones.
    places: Vec<Option<usize>>,
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
            places: Vec::new(),
            results,
        }
    }

    /// Operations committed so far.
    pub(crate) fn committed(&self) -> usize {
        self.done
    }

    /// The next piece.
    pub(crate) fn next(&mut self) -> Progress {
        loop {
            if self.sent == self.txn.len() && self.sent > 0 {
                return Progress::Done(Ok(std::mem::take(&mut self.results)));
            }
            let end = self.end_of_piece();
            let mut params = vec![Json::from(self.database)];
            self.places.clear();
            for lock in &self.txn.locks {
                params.push(json!({"op": "assert", "lock": lock}));
                self.places.push(None);
            }
            let fixed = params.len();
            for place in self.sent..end {
                match render(&self.txn.ops[place], &self.schema) {
                    Some(op) => {
                        params.push(op);
                        self.places.push(Some(place));
                    }
                    None => self.results[place].skipped = true,
                }
            }
            self.sent = end;
            // A piece of which nothing is left need not travel; an empty transaction may be one that asserts a lock.
            if params.len() == fixed && end > 0 {
                self.done = end;
                continue;
            }
            if let Some(comment) = &self.txn.comment {
                params.push(json!({"op": "comment", "comment": comment}));
                self.places.push(None);
            }
            return Progress::Send(params);
        }
    }

    /// The last cut within reach, or else the first one beyond it.
    fn end_of_piece(&self) -> usize {
        let reach = self.sent + PIECE_OPS;
        if self.txn.len() <= reach {
            return self.txn.len();
        }
        let ahead = self.txn.cuts.iter().copied().filter(|&cut| cut > self.sent);
        let within = ahead.clone().take_while(|&cut| cut <= reach).last();
        within
            .or_else(|| ahead.clone().next())
            .unwrap_or(self.txn.len())
    }

    /// Takes the reply to the piece under way.
    pub(crate) fn answer(&mut self, reply: Result<Option<&RawValue>, RpcError>) -> Progress {
        let refused = |error: OpError, committed| {
            Progress::Done(Err(TxnError::Refused {
                error: Box::new(error),
                committed,
            }))
        };
        let reply = match reply {
            Ok(reply) => reply,
            Err(error) => return refused(OpError::whole(&error), self.done),
        };
        let Ok(elements) = serde_json::from_str::<Vec<Json>>(reply.map_or("null", RawValue::get))
        else {
            let error = RpcError {
                error: "malformed reply".into(),
                details: "to a transaction".into(),
            };
            return refused(OpError::whole(&error), self.done);
        };
        for (i, element) in elements.iter().enumerate() {
            let place = self.places.get(i).copied().flatten();
            if element.get("error").is_some_and(|error| !error.is_null()) {
                return refused(OpError::new(&self.txn, place, element), self.done);
            }
            if let Some(place) = place {
                self.results[place] = result(element);
            }
        }
        self.done = self.sent;
        if self.txn.is_empty() {
            Progress::Done(Ok(Vec::new()))
        } else {
            self.next()
        }
    }
}

fn result(element: &Json) -> OpResult {
    let uuid = element
        .get("uuid")
        .and_then(|pair| pair.get(1))
        .and_then(Json::as_str);
    OpResult {
        count: element.get("count").and_then(Json::as_u64),
        uuid: uuid.and_then(|text| text.parse().ok()),
        rows: element.get("rows").and_then(Json::as_array).cloned(),
        skipped: false,
    }
}

fn this_row(uuid: Uuid) -> Json {
    json!([["_uuid", "==", uuid.to_json()]])
}

/// The columns that the server has, as a row.
fn known(table: &str, row: &[(&'static str, Json)], schema: &ServerSchema) -> Map<String, Json> {
    row.iter()
        .filter(|(column, _)| schema.has_column(table, column))
        .map(|(column, value)| ((*column).to_owned(), value.clone()))
        .collect()
}

/// The operation on the wire; `None` if the server knows nothing of what it is about.
fn render(op: &Op, schema: &ServerSchema) -> Option<Json> {
    match op {
        Op::Raw(op) => Some(op.clone()),
        Op::Insert { table, uuid, row } => schema.has_table(table).then(
            || json!({"op": "insert", "table": table, "uuid": uuid.to_string(), "row": known(table, row, schema)}),
        ),
        Op::Update { table, uuid, row } => {
            let row = known(table, row, schema);
            (!row.is_empty()).then(|| json!({"op": "update", "table": table, "where": this_row(*uuid), "row": row}))
        }
        Op::Mutate { table, uuid, mutations } => {
            let known: Vec<_> = mutations.iter().filter(|(column, ..)| schema.has_column(table, column)).collect();
            (!known.is_empty())
                .then(|| json!({"op": "mutate", "table": table, "where": this_row(*uuid), "mutations": known}))
        }
        Op::Delete { table, uuid } => {
            schema.has_table(table).then(|| json!({"op": "delete", "table": table, "where": this_row(*uuid)}))
        }
        Op::Wait { table, uuid, timeout_ms, equal, row } => {
            let row = known(table, row, schema);
            let columns: Vec<&String> = row.keys().collect();
            let until = if *equal { "==" } else { "!=" };
            (!row.is_empty()).then(|| {
                json!({"op": "wait", "timeout": timeout_ms, "table": table, "where": this_row(*uuid),
                       "columns": columns, "until": until, "rows": [row]})
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::OpErrorKind;
    use super::*;

    fn schema() -> Arc<ServerSchema> {
        let text = r#"{"name":"t","version":"1.0.0","tables":{"A":{"columns":{"name":{"type":"string"}}}}}"#;
        Arc::new(serde_json::from_str(text).unwrap())
    }

    fn insert(table: &'static str, uuid: u128, columns: &[&'static str]) -> Op {
        let row = columns
            .iter()
            .map(|&column| (column, Json::from("x")))
            .collect();
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
        let Progress::Send(params) = out.next() else {
            panic!()
        };
        assert_eq!(params.len(), 2);
        assert_eq!(params[1]["row"], json!({"name": "x"}));
        let done = out.answer(Ok(Some(&reply(
            r#"[{"uuid":["uuid","00000000-0000-0000-0000-000000000002"]}]"#,
        ))));
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
        for i in 0..(PIECE_OPS as u128 * 2) {
            txn.ops.push(insert("A", i, &["name"]));
            if i % 300 == 299 {
                txn.may_cut();
            }
        }
        let mut out = Outgoing::new("t", txn, schema());
        let mut sizes = Vec::new();
        let mut next = out.next();
        while let Progress::Send(params) = next {
            assert_eq!(params[1]["op"], "assert");
            assert_eq!(params.last().unwrap()["op"], "comment");
            sizes.push(params.len() - 3);
            next = out.answer(Ok(Some(&reply("[]"))));
        }
        assert_eq!(sizes, [900, 900, 200]);
        assert!(matches!(next, Progress::Done(Ok(results)) if results.len() == PIECE_OPS * 2));
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
            let _ = out.next();
            let Progress::Done(Err(error)) = out.answer(Ok(Some(&reply(text)))) else {
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
