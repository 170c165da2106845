//! Assignments: of values, exchanges, results of functions, one of several values.

use super::Parsed;
use crate::action::{Action, CallName, OptionValue, OptionsKind, PacketOption};
use crate::check;
use crate::field::{self, Field};
use crate::lexer::{ParseError, Token};
use crate::parse::Parser;

impl Parser {
    /// `field = ...`, `field <-> field`, `ip.ttl--`.
    pub(super) fn assignment(&mut self, start: usize) -> Parsed<Action> {
        let field = self.field()?;
        if self.eat("--") {
            if field != field::IP_TTL {
                return Err(ParseError::new(
                    self.since(start),
                    "only ip.ttl can be decremented",
                ));
            }
            return Ok(Action::DecTtl);
        }
        if self.eat("<->") {
            let other = self.field()?;
            let checked = check::writable(field)
                .and_then(|()| check::writable(other))
                .and_then(|()| check::same_type(field, other));
            self.check_at(start, checked)?;
            return Ok(Action::Exchange(field, other));
        }
        self.expect("=")?;
        match self.peek().clone() {
            Token::Id(id) if Field::by_name(&id).is_some() => {
                let source = self.field()?;
                let checked = check::writable(field).and_then(|()| check::same_type(field, source));
                self.check_at(start, checked)?;
                Ok(Action::Move(field, source))
            }
            Token::Id(id) => self.result_of(field, &id, start),
            _ => {
                let value = self.constant()?;
                self.check_at(start, check::assignment(field, &value))?;
                Ok(Action::Set(field, value))
            }
        }
    }

    /// `result = name(...)`.
    pub(super) fn result_of(&mut self, result: Field, id: &str, start: usize) -> Parsed<Action> {
        let name_at = self.span().start;
        self.advance();
        if let Some(call) = CallName::ALL
            .iter()
            .find(|call| call.name() == id && call.result().is_some())
        {
            return self.call(Some(result), *call, start);
        }
        self.check_at(start, check::writable(result))?;
        let one_bit = crate::action::ArgKind::Bits(1);
        if id != "select" {
            self.check_at(start, check::argument(result, one_bit, id))?;
        }
        let kinds = [OptionsKind::Dhcpv4, OptionsKind::Dhcpv6, OptionsKind::NdRa];
        if let Some(kind) = kinds.into_iter().find(|kind| kind.name() == id) {
            return Ok(Action::PutOptions(kind, result, self.packet_options()?));
        }
        match id {
            "check_pkt_larger" => {
                let length = self.parenthesized(|p| p.number(65535u32))?;
                Ok(Action::CheckPktLarger(result, length))
            }
            "select" => self.select(result, start),
            "dhcp_relay_req_chk" | "dhcp_relay_resp_chk" => {
                let (relay, server) = self.parenthesized(|p| {
                    let relay = p.address()?;
                    p.expect(",")?;
                    Ok((relay, p.address()?))
                })?;
                Ok(if id == "dhcp_relay_req_chk" {
                    Action::DhcpRelayReqChk(result, relay, server)
                } else {
                    Action::DhcpRelayRespChk(result, relay, server)
                })
            }
            _ => self.unknown_action(id, name_at),
        }
    }

    pub(super) fn call(
        &mut self,
        result: Option<Field>,
        name: CallName,
        start: usize,
    ) -> Parsed<Action> {
        self.expect("(")?;
        let mut args = Vec::new();
        for (i, kind) in name.args().iter().enumerate() {
            if i > 0 {
                self.expect(",")?;
            }
            let arg_at = self.span().start;
            let field = self.field()?;
            self.check_at(arg_at, check::argument(field, *kind, name.name()))?;
            args.push(field);
        }
        self.expect(")")?;
        if let (Some(field), Some(kind)) = (result, name.result()) {
            let checked =
                check::writable(field).and_then(|()| check::argument(field, kind, name.name()));
            self.check_at(start, checked)?;
        }
        Ok(Action::Call { result, name, args })
    }

    pub(super) fn packet_options(&mut self) -> Parsed<Vec<PacketOption>> {
        self.expect("(")?;
        let mut options = Vec::new();
        while !self.eat(")") {
            let name = self.id("an option name")?.into();
            self.expect("=")?;
            let braces = *self.peek() == Token::Punct("{");
            let mut values = self.operand()?;
            let value = match (braces, values.pop()) {
                (false, Some(value)) => OptionValue::One(value),
                (_, last) => {
                    values.extend(last);
                    OptionValue::Many(values)
                }
            };
            options.push(PacketOption { name, value });
            if !self.eat(",") && *self.peek() != Token::Punct(")") {
                return self.unexpected("`,'");
            }
        }
        Ok(options)
    }

    pub(super) fn select(&mut self, result: Field, start: usize) -> Parsed<Action> {
        if result.is_text() || result.width() < 16 {
            return Err(ParseError::new(
                self.since(start),
                "select needs a field of at least 16 bits",
            ));
        }
        self.expect("(")?;
        let newer = self.eat_id("values");
        if newer {
            self.expect("=")?;
            self.expect("(")?;
        }
        let mut members = Vec::new();
        loop {
            let value = self.number(65535u32)?;
            let weight = if self.eat("=") {
                Some(self.number(65535u32)?)
            } else {
                None
            };
            members.push((value, weight));
            if !self.eat(",") {
                break;
            }
        }
        let mut hash_fields = None;
        if newer {
            self.expect(")")?;
            self.expect(";")?;
            self.key("hash_fields")?;
            hash_fields = Some(self.quoted()?);
        }
        self.expect(")")?;
        if members.len() < 2 {
            return Err(ParseError::new(
                self.since(start),
                "select needs at least two values",
            ));
        }
        Ok(Action::Select {
            result,
            members,
            hash_fields,
        })
    }
}
