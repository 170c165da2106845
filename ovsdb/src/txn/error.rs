//! What can go wrong with a transaction.

use serde_json::Value as Json;

use super::Txn;
use crate::model::Uuid;
use crate::wire::RpcError;

/// The kinds of errors of RFC 7047 (sections 3.1, 4.1.3, 5.2) and ovsdb-server(7).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum OpErrorKind {
    /// A value or the number of values is out of range, a row's index values are taken, or an immutable column would
    /// change.
    ConstraintViolation,
    /// A reference to a row that is not there, or the deletion of one that is referred to.
    ReferentialIntegrity,
    /// A lock that the transaction asserts is not held.
    NotOwner,
    /// What a wait operation waits for did not happen.
    TimedOut,
    /// By an abort operation.
    Aborted,
    /// Of the server.
    ResourcesExhausted,
    /// The server cannot write its file.
    Io,
    /// An insert with the identifier of an existing row.
    DuplicateUuid,
    /// Two inserts with the same name.
    DuplicateUuidName,
    /// A mutation with a value it is not defined for.
    DomainError,
    /// A mutation whose result cannot be represented.
    RangeError,
    /// The server has no such database.
    UnknownDatabase,
    /// The table has no such column.
    UnknownColumn,
    /// The operation makes no sense to the server: an unknown table, among others.
    Syntax,
    /// Role-based access control forbids it.
    Permission,
    /// The server is a read-only replica.
    NotAllowed,
    /// A clustered server without leader, or that lost its leadership: try again.
    Cluster,
    /// The server dropped the request, because the schema is being converted.
    Canceled,
    /// Another one, in the server's words.
    Other(String),
}

impl OpErrorKind {
    /// From the server's word for it.
    #[must_use]
    pub fn from_name(name: &str) -> Self {
        match name {
            "constraint violation" => Self::ConstraintViolation,
            "referential integrity violation" => Self::ReferentialIntegrity,
            "not owner" => Self::NotOwner,
            "timed out" => Self::TimedOut,
            "aborted" => Self::Aborted,
            "resources exhausted" => Self::ResourcesExhausted,
            "I/O error" => Self::Io,
            "duplicate uuid" => Self::DuplicateUuid,
            "duplicate uuid-name" => Self::DuplicateUuidName,
            "domain error" => Self::DomainError,
            "range error" => Self::RangeError,
            "unknown database" => Self::UnknownDatabase,
            "unknown column" => Self::UnknownColumn,
            "syntax error" => Self::Syntax,
            "permission error" => Self::Permission,
            "not allowed" => Self::NotAllowed,
            "cluster error" | "not leader" => Self::Cluster,
            "canceled" => Self::Canceled,
            other => Self::Other(other.to_owned()),
        }
    }

    /// The same transaction may succeed later without any change of data.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::NotOwner
                | Self::ResourcesExhausted
                | Self::Io
                | Self::Cluster
                | Self::Canceled
                | Self::NotAllowed
        )
    }
}

/// The server refused a transaction. Nothing of it (of the piece sent) took effect.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{name}: {details}{}", self.place())]
pub struct OpError {
    /// What kind of error.
    pub kind: OpErrorKind,
    /// The server's word for it.
    pub name: String,
    /// The server's explanation.
    pub details: String,
    /// The operation at fault; for errors found at the end of the transaction (index values, references) the last one
    /// that writes a row the explanation names, if there is one.
    pub op: Option<usize>,
    /// The table at fault.
    pub table: Option<String>,
    /// The column at fault, if the explanation names one.
    pub column: Option<String>,
    /// The row at fault: the one written by `op`.
    pub row: Option<Uuid>,
    /// All rows that the explanation names, in its order.
    pub named: Vec<Uuid>,
}

impl OpError {
    fn place(&self) -> String {
        let mut text = String::new();
        if let (Some(op), Some(table)) = (self.op, &self.table) {
            text = format!(" (operation {op}, table {table}");
            if let Some(row) = self.row {
                text += &format!(", row {row}");
            }
            text.push(')');
        }
        text
    }

    /// From an element of the reply. `op` is the operation it stands for, `None` if it follows all of them.
    pub(crate) fn new(txn: &Txn, op: Option<usize>, error: &Json) -> Self {
        let text = |member: &str| {
            error
                .get(member)
                .and_then(Json::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        let (name, details) = (text("error"), text("details"));
        let named = uuids(&details);
        let (said_table, column) = words(&details);
        let op = op.or_else(|| blame(txn, &named));
        let subject = op.and_then(|op| txn.subject(op));
        OpError {
            kind: OpErrorKind::from_name(&name),
            name,
            details,
            op,
            table: subject.map(|(table, _)| table.to_owned()).or(said_table),
            column,
            row: subject.and_then(|(_, row)| row),
            named,
        }
    }

    /// From the error of a whole request.
    pub(crate) fn whole(error: &RpcError) -> Self {
        OpError {
            kind: OpErrorKind::from_name(&error.error),
            name: error.error.clone(),
            details: error.details.clone(),
            op: None,
            table: None,
            column: None,
            row: None,
            named: Vec::new(),
        }
    }
}

/// The last operation that writes the row named first among those that any operation writes.
fn blame(txn: &Txn, named: &[Uuid]) -> Option<usize> {
    let writes = |uuid: Uuid| {
        (0..txn.len())
            .rev()
            .find(|&op| txn.subject(op).is_some_and(|(_, row)| row == Some(uuid)))
    };
    named.iter().find_map(|&uuid| writes(uuid))
}

/// The identifiers in a text.
fn uuids(text: &str) -> Vec<Uuid> {
    text.split(|c: char| !c.is_ascii_hexdigit() && c != '-')
        .filter(|word| word.len() == 36)
        .filter_map(|word| word.parse().ok())
        .collect()
}

/// The table and the column that an explanation names: the word after "table" (`table A`, `"A" table`) or "column".
fn words(details: &str) -> (Option<String>, Option<String>) {
    let clean = |word: &str| {
        word.trim_matches(|c: char| !c.is_alphanumeric() && c != '_')
            .to_owned()
    };
    let words: Vec<&str> = details.split_whitespace().collect();
    let after = |key: &str| {
        words
            .iter()
            .position(|&word| word.eq_ignore_ascii_case(key))
            .and_then(|at| words.get(at + 1))
            .map(|w| clean(w))
    };
    let quoted_table = words
        .windows(2)
        .find(|pair| pair[1] == "table" && pair[0].starts_with('"'))
        .map(|pair| clean(pair[0]));
    (quoted_table.or_else(|| after("table")), after("column"))
}

/// Why there is no result.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum TxnError {
    /// The server refused.
    #[error("{error}")]
    Refused {
        /// Why.
        error: Box<OpError>,
        /// So many operations were committed in earlier pieces (zero unless the transaction was divisible).
        committed: usize,
        /// Some operations behind the refused ones were executed all the same: what the database holds must be read anew.
        gap: bool,
    },
    /// There is no usable connection at the moment; nothing was sent.
    #[error("not connected to the database")]
    NotConnected,
    /// The connection ended before the answer: the transaction (or its last piece) may or may not have been executed.
    #[error("the connection ended before the answer came: {reason}")]
    Lost {
        /// Why it ended.
        reason: String,
        /// So many operations were committed in earlier pieces.
        committed: usize,
    },
    /// The session is over.
    #[error("the session has ended")]
    Ended,
}

impl TxnError {
    /// The refusal, if it is one.
    #[must_use]
    pub fn refusal(&self) -> Option<&OpError> {
        match self {
            TxnError::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    /// The same transaction, built anew from the current state, may succeed without any change of data.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.refusal().is_none_or(|error| error.kind.is_transient())
    }
}
