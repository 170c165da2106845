//! The logical flow language: matches and actions, parsed, checked, simplified, rendered and lowered.
#![cfg_attr(test, allow(clippy::unwrap_used))]

pub mod action;
mod action_text;
pub mod check;
pub mod constant;
pub mod env;
pub mod eval;
pub mod expr;
pub mod field;
pub mod lexer;
pub mod lower;
pub mod of;
pub mod options;
pub mod packet;
mod parse;
mod parse_action;
mod simplify;
mod suggest;
pub mod template;

pub use action::{Action, Pipeline};
pub use action_text::Actions;
pub use check::{annotate, check};
pub use constant::{Const, Format, Int, Str};
pub use env::{Env, Name, NoEnv};
pub use eval::{eval, microflow};
pub use expr::{Cmp, Expr, Operand, RelOp};
pub use field::{Field, Predicate, pred};
pub use lexer::ParseError;
pub use lower::{FlowKind, FlowMatch, Lowered, to_openflow};
pub use of::OfField;
pub use packet::{FieldReader, Packet};
pub use parse::{parse_constants, parse_match};
pub use parse_action::{const_address, parse_actions};
pub use simplify::simplify;
pub use template::{Templated, to_templates};
