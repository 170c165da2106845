//! The parser of actions.

mod assign;
mod conntrack;
mod report;

use std::net::IpAddr;

use crate::action::{Action, CallName, LbKind, NatKind, NestedKind, Pipeline, Proto};
use crate::check::{self, CheckError};
use crate::constant::{Const, Format, Int, Str};
use crate::field::Field;
use crate::lexer::{ParseError, Token};
use crate::parse::Parser;
use crate::suggest::nearest;

/// Parses the `actions` column, checking types.
pub fn parse_actions(text: &str) -> Result<Vec<Action>, ParseError> {
    let mut parser = Parser::new(text)?;
    let mut actions = Vec::new();
    while *parser.peek() != Token::End {
        actions.push(parser.action()?);
    }
    Ok(actions)
}

/// Names of actions that are not calls, for suggestions.
const NAMES: &[&str] = &[
    "next",
    "output",
    "drop",
    "push",
    "pop",
    "ct_next",
    "ct_commit",
    "ct_commit_to_zone",
    "ct_commit_nat",
    "ct_dnat",
    "ct_snat",
    "ct_dnat_in_czone",
    "ct_snat_in_czone",
    "ct_clear",
    "ct_lb",
    "ct_lb_mark",
    "ct_lb_mark_local",
    "ct_snat_to_vip",
    "set_queue",
    "set_meter",
    "log",
    "fwd_group",
    "trigger_event",
    "igmp",
    "handle_dhcpv6_reply",
    "bind_vport",
    "commit_ecmp_nh",
    "commit_lb_aff",
    "sample",
    "mac_cache_use",
    "flood_remote",
    "mirror",
    "select",
    "check_pkt_larger",
    "put_dhcp_opts",
    "put_dhcpv6_opts",
    "put_nd_ra_opts",
    "dhcp_relay_req_chk",
    "dhcp_relay_resp_chk",
];

type Parsed<T> = Result<T, ParseError>;

impl Parser {
    /// One action with its semicolon.
    fn action(&mut self) -> Parsed<Action> {
        let start = self.span().start;
        let Token::Id(id) = self.peek().clone() else {
            return self.unexpected("an action");
        };
        if let Some(kind) = NestedKind::ALL.into_iter().find(|kind| kind.name() == id)
            && *self.peek_second() == Token::Punct("{")
        {
            self.advance();
            let inner = self.block()?;
            self.expect(";")?;
            return Ok(Action::Nested(kind, inner));
        }
        let assigns = matches!(self.peek_second(), Token::Punct("=" | "<->" | "[" | "--"));
        let action = if assigns || Field::by_name(&id).is_some() {
            self.assignment(start)?
        } else {
            self.advance();
            match self.named_action(&id, start)? {
                Some(action) => action,
                None => return self.unknown_action(&id, start),
            }
        };
        if *self.peek() != Token::Punct(";") {
            return self.unexpected("`;'");
        }
        self.advance();
        Ok(action)
    }

    fn unknown_action<T>(&self, id: &str, start: usize) -> Parsed<T> {
        let calls = CallName::ALL.iter().map(|call| call.name());
        let nested = NestedKind::ALL.iter().map(|kind| kind.name());
        let fields = Field::all().map(|field| field.symbol().name);
        Err(ParseError {
            span: start..start + id.len(),
            message: format!("unknown action `{id}'"),
            suggestion: nearest(
                id,
                NAMES
                    .iter()
                    .copied()
                    .chain(calls)
                    .chain(nested)
                    .chain(fields),
            ),
        })
    }

    /// `{ actions }`
    fn block(&mut self) -> Parsed<Vec<Action>> {
        self.expect("{")?;
        self.nested(|parser| {
            let mut actions = Vec::new();
            while !parser.eat("}") {
                actions.push(parser.action()?);
            }
            Ok(actions)
        })
    }

    fn named_action(&mut self, id: &str, start: usize) -> Parsed<Option<Action>> {
        if let Some(call) = CallName::ALL
            .iter()
            .find(|call| call.name() == id && call.result().is_none())
        {
            return self.call(None, *call, start).map(Some);
        }
        if let Some(kind) = [LbKind::Label, LbKind::Mark, LbKind::MarkLocal]
            .into_iter()
            .find(|kind| kind.name() == id)
        {
            return self.lb(kind).map(Some);
        }
        let nat = [
            NatKind::Dnat,
            NatKind::Snat,
            NatKind::DnatInCzone,
            NatKind::SnatInCzone,
        ];
        if let Some(kind) = nat.into_iter().find(|kind| kind.name() == id) {
            let target = if self.eat("(") {
                Some(self.nat_target()?)
            } else {
                None
            };
            return Ok(Some(Action::CtNat(kind, target)));
        }
        Ok(Some(match id {
            "output" => Action::Output,
            "drop" => Action::Drop,
            "next" => self.next_table()?,
            "push" => Action::Push(self.only_field()?),
            "pop" => {
                let field = self.only_field()?;
                self.check_at(start, check::writable(field))?;
                Action::Pop(field)
            }
            "ct_next" => Action::CtNext(self.optional_zone()?),
            "ct_commit" => self.ct_commit()?,
            "ct_commit_to_zone" => match self.optional_zone()? {
                Some(zone) => Action::CtCommitToZone(zone),
                None => return self.unexpected("`('"),
            },
            "ct_commit_nat" => Action::CtCommitNat(self.optional_zone()?),
            "ct_clear" => Action::CtClear,
            "ct_snat_to_vip" => Action::CtSnatToVip,
            "igmp" => Action::Igmp,
            "handle_dhcpv6_reply" => Action::HandleDhcpv6Reply,
            "mac_cache_use" => Action::MacCacheUse,
            "flood_remote" => Action::FloodRemote,
            "set_queue" => Action::SetQueue(self.parenthesized(|p| p.number(61440u32))?),
            "set_meter" => self.parenthesized(|p| {
                let rate = p.number(u64::MAX)?;
                let burst = if p.eat(",") {
                    Some(p.number(u64::MAX)?)
                } else {
                    None
                };
                Ok(Action::SetMeter(rate, burst))
            })?,
            "mirror" => Action::Mirror(self.parenthesized(Self::quoted)?),
            "log" => self.log()?,
            "fwd_group" => self.fwd_group()?,
            "trigger_event" => self.trigger_event()?,
            "bind_vport" => self.parenthesized(|p| {
                let port = p.quoted()?;
                p.expect(",")?;
                Ok(Action::BindVport(port, p.port_field("bind_vport")?))
            })?,
            "commit_ecmp_nh" => self.commit_ecmp_nh()?,
            "commit_lb_aff" => self.commit_lb_aff()?,
            "sample" => self.sample()?,
            _ => return Ok(None),
        }))
    }

    fn check_at(&self, start: usize, result: Result<(), CheckError>) -> Parsed<()> {
        result.map_err(|error| ParseError::new(self.since(start), error.0))
    }

    /// `( ... )` around what `parse` reads.
    fn parenthesized<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.expect("(")?;
        let value = parse(self)?;
        self.expect(")")?;
        Ok(value)
    }

    fn only_field(&mut self) -> Parsed<Field> {
        self.parenthesized(Self::field)
    }

    fn port_field(&mut self, name: &str) -> Parsed<Field> {
        let start = self.span().start;
        let field = self.field()?;
        self.check_at(
            start,
            check::argument(field, crate::action::ArgKind::Port, name),
        )?;
        Ok(field)
    }

    /// A plain number up to `limit`.
    fn number<N: TryFrom<u128>>(&mut self, limit: impl Into<u128>) -> Parsed<N> {
        let limit = limit.into();
        let Token::Int(int) = self.peek() else {
            return self.unexpected("a number");
        };
        let plain = int.mask().is_none()
            && matches!(int.format(), Format::Dec | Format::Hex)
            && int.value() <= limit;
        let Some(number) = plain.then(|| N::try_from(int.value()).ok()).flatten() else {
            return Err(ParseError::new(
                self.span(),
                format!("number must be at most {limit}"),
            ));
        };
        self.advance();
        Ok(number)
    }

    fn quoted(&mut self) -> Parsed<Str> {
        let Token::Text(text) = self.peek().clone() else {
            return self.unexpected("a string in quotes");
        };
        self.advance();
        Ok(text)
    }

    fn id(&mut self, wanted: &str) -> Parsed<String> {
        let Token::Id(id) = self.peek().clone() else {
            return self.unexpected(wanted);
        };
        self.advance();
        Ok(id)
    }

    /// One of a few words.
    fn word<T: Copy>(&mut self, words: &[(&str, T)]) -> Parsed<T> {
        let found = match self.peek() {
            Token::Id(id) => words.iter().find(|(word, _)| word == id),
            _ => None,
        };
        let Some((_, value)) = found else {
            let list: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            return self.unexpected(&list.join(" or "));
        };
        self.advance();
        Ok(*value)
    }

    fn proto(&mut self) -> Parsed<Proto> {
        self.word(&[
            ("tcp", Proto::Tcp),
            ("udp", Proto::Udp),
            ("sctp", Proto::Sctp),
        ])
    }

    fn address(&mut self) -> Parsed<IpAddr> {
        let address = match self.peek() {
            Token::Int(int) if int.mask().is_none() => int_address(int),
            _ => None,
        };
        let Some(address) = address else {
            return self.unexpected("an IP address");
        };
        self.advance();
        Ok(address)
    }

    fn next_table(&mut self) -> Parsed<Action> {
        if !self.eat("(") {
            return Ok(Action::Next(None));
        }
        if let Token::Int(_) = self.peek() {
            let table = self.number(255u32)?;
            self.expect(")")?;
            return Ok(Action::Next(Some(table)));
        }
        let (mut pipeline, mut table) = (None, None);
        loop {
            if self.eat_id("pipeline") {
                self.expect("=")?;
                pipeline = Some(
                    self.word(&[("ingress", Pipeline::Ingress), ("egress", Pipeline::Egress)])?,
                );
            } else if self.eat_id("table") {
                self.expect("=")?;
                table = Some(self.number(255u32)?);
            } else {
                return self.unexpected("`pipeline' or `table'");
            }
            if !self.eat(",") {
                break;
            }
        }
        self.expect(")")?;
        match (pipeline, table) {
            (Some(pipeline), Some(table)) => Ok(Action::NextIn(pipeline, table)),
            (None, table) => Ok(Action::Next(table)),
            (Some(_), None) => self.unexpected("a table number besides the pipeline"),
        }
    }
}

/// The address an integer constant is, if it is written as one.
pub fn int_address(int: &Int) -> Option<IpAddr> {
    match int.format() {
        Format::Ip4 => Some(IpAddr::V4((int.value() as u32).into())),
        Format::Ip6 => Some(IpAddr::V6(int.value().into())),
        _ => None,
    }
}

/// As [`int_address`], of any constant.
pub fn const_address(constant: &Const) -> Option<IpAddr> {
    constant.as_int().and_then(int_address)
}
