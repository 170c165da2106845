//! The parser of actions.

use std::net::IpAddr;

use crate::action::{
    Action, CallName, Endpoint, Lb, LbFlag, LbKind, Log, NatKind, NatTarget, NatZone, NestedKind,
    ObsPoint, OptionValue, OptionsKind, PacketOption, Pipeline, Proto, Sample, TriggerEvent,
};
use crate::check::{self, CheckError};
use crate::constant::{Const, Format, Int, Str};
use crate::field::{self, Field};
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

    fn optional_zone(&mut self) -> Parsed<Option<NatZone>> {
        if !self.eat("(") {
            return Ok(None);
        }
        let zone = self.word(&[("dnat", NatZone::Dnat), ("snat", NatZone::Snat)])?;
        self.expect(")")?;
        Ok(Some(zone))
    }

    /// The rest of `(IP, low-high)`.
    fn nat_target(&mut self) -> Parsed<NatTarget> {
        let ip = self.address()?;
        let mut ports = None;
        if self.eat(",") {
            let low = self.number::<u16>(65535u32)?;
            let high = if self.eat("-") {
                self.number::<u16>(65535u32)?
            } else {
                low
            };
            if high < low {
                return Err(ParseError::new(
                    self.span(),
                    "the last port is below the first",
                ));
            }
            ports = Some((low, high));
        }
        self.expect(")")?;
        Ok(NatTarget { ip, ports })
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

    fn ct_commit(&mut self) -> Parsed<Action> {
        if *self.peek() == Token::Punct("{") {
            let start = self.span().start;
            let parts = self.block()?;
            for part in &parts {
                let target = match part {
                    Action::Set(field, _) | Action::Move(field, _) => {
                        Some(field.resolve().symbol_field())
                    }
                    _ => None,
                };
                if !matches!(target, Some(field::CT_MARK | field::CT_LABEL)) {
                    let message = "ct_commit may only assign ct_mark and ct_label";
                    return Err(ParseError::new(self.since(start), message));
                }
            }
            return Ok(Action::CtCommit(parts));
        }
        if !self.eat("(") {
            return Ok(Action::CtCommit(Vec::new()));
        }
        let (mut mark, mut label) = (None, None);
        while !self.eat(")") {
            let slot = match self.word(&[("ct_mark", true), ("ct_label", false)])? {
                true => &mut mark,
                false => &mut label,
            };
            self.expect("=")?;
            *slot = Some(self.constant()?);
            self.eat(",");
        }
        Ok(Action::CtCommitV1 { mark, label })
    }

    fn lb(&mut self, kind: LbKind) -> Parsed<Action> {
        let mut lb = Lb {
            kind,
            backends: Vec::new(),
            templates: Vec::new(),
            hash_fields: None,
            flag: None,
        };
        if !self.eat("(") || self.eat(")") {
            return Ok(Action::CtLb(lb));
        }
        // Without the key, the list of addresses is the form of early versions.
        if self.eat_id("backends") {
            self.expect("=")?;
        }
        loop {
            lb.backends.push(self.endpoint()?);
            if !self.eat(",") {
                break;
            }
        }
        while self.eat(";") {
            if self.eat_id("hash_fields") {
                self.expect("=")?;
                lb.hash_fields = Some(self.quoted()?);
            } else {
                let flags = [
                    ("skip_snat", LbFlag::SkipSnat),
                    ("force_snat", LbFlag::ForceSnat),
                ];
                lb.flag = Some(self.word(&flags)?);
            }
        }
        self.expect(")")?;
        Ok(Action::CtLb(lb))
    }

    fn endpoint(&mut self) -> Parsed<Endpoint> {
        if self.eat("[") {
            let ip = self.address()?;
            self.expect("]")?;
            let port = if self.eat(":") {
                Some(self.number(65535u32)?)
            } else {
                None
            };
            return Ok(Endpoint { ip, port });
        }
        let ip = self.address()?;
        let port = if ip.is_ipv4() && self.eat(":") {
            Some(self.number(65535u32)?)
        } else {
            None
        };
        Ok(Endpoint { ip, port })
    }

    /// `"10.0.0.1:80"`: an endpoint in quotes.
    fn quoted_endpoint(&mut self) -> Parsed<Endpoint> {
        let span = self.span();
        let text = self.quoted()?;
        let inner = Parser::new(&text).and_then(|mut parser| {
            let endpoint = parser.endpoint()?;
            parser.finish("end of address").map(|()| endpoint)
        });
        inner.map_err(|error| {
            ParseError::new(span, format!("bad address in quotes: {}", error.message))
        })
    }

    fn log(&mut self) -> Parsed<Action> {
        let mut log = Log::default();
        self.expect("(")?;
        while !self.eat(")") {
            let key_at = self.span();
            let key = self.id("name, verdict, severity or meter")?;
            self.expect("=")?;
            match key.as_str() {
                "name" => log.name = Some(self.quoted()?),
                "meter" => log.meter = Some(self.quoted()?),
                "verdict" => {
                    log.verdict =
                        Some(self.one_of("verdict", &["allow", "drop", "reject", "pass"])?)
                }
                "severity" => {
                    let levels = ["alert", "warning", "notice", "info", "debug"];
                    log.severity = Some(self.one_of("severity", &levels)?);
                }
                _ => {
                    return Err(ParseError::new(
                        key_at,
                        "log takes name, verdict, severity and meter",
                    ));
                }
            }
            if !self.eat(",") && *self.peek() != Token::Punct(")") {
                return self.unexpected("`,'");
            }
        }
        Ok(Action::Log(log))
    }

    fn one_of(&mut self, what: &str, values: &[&str]) -> Parsed<Str> {
        let span = self.span();
        let value = self.id(what)?;
        if values.contains(&value.as_str()) {
            return Ok(value.into());
        }
        Err(ParseError {
            span,
            message: format!("{what} must be one of {}", values.join(", ")),
            suggestion: nearest(&value, values.iter().copied()),
        })
    }

    fn fwd_group(&mut self) -> Parsed<Action> {
        self.expect("(")?;
        let mut liveness = false;
        if self.eat_id("liveness") {
            self.expect("=")?;
            let text = match self.peek().clone() {
                Token::Text(text) => text.to_string(),
                Token::Id(id) => id,
                _ => return self.unexpected("true or false"),
            };
            liveness = match text.as_str() {
                "true" => true,
                "false" => false,
                _ => return self.unexpected("true or false"),
            };
            self.advance();
            self.expect(",")?;
        }
        if !self.eat_id("childports") {
            return self.unexpected("`childports'");
        }
        self.expect("=")?;
        let mut child_ports = vec![self.quoted()?];
        while self.eat(",") {
            child_ports.push(self.quoted()?);
        }
        self.expect(")")?;
        Ok(Action::FwdGroup {
            liveness,
            child_ports,
        })
    }

    fn trigger_event(&mut self) -> Parsed<Action> {
        self.expect("(")?;
        let mut pairs: Vec<(Str, Str)> = Vec::new();
        while !self.eat(")") {
            let key = self.id("a key")?;
            self.expect("=")?;
            pairs.push((key.into(), self.quoted()?));
            if !self.eat(",") && *self.peek() != Token::Punct(")") {
                return self.unexpected("`,'");
            }
        }
        let mut take = |key: &str| {
            pairs
                .iter()
                .position(|(k, _)| &**k == key)
                .map(|i| pairs.remove(i).1)
        };
        let (event, meter) = (take("event"), take("meter"));
        match event {
            Some(event) if &*event == "empty_lb_backends" => {
                Ok(Action::TriggerEvent(TriggerEvent {
                    event,
                    meter,
                    options: pairs,
                }))
            }
            _ => self.unexpected("an event that exists, empty_lb_backends"),
        }
    }

    fn key(&mut self, key: &str) -> Parsed<()> {
        if !self.eat_id(key) {
            return self.unexpected(&format!("`{key}'"));
        }
        self.expect("=")
    }

    fn commit_ecmp_nh(&mut self) -> Parsed<Action> {
        self.expect("(")?;
        self.key("ipv6")?;
        let ipv6 = self.word(&[("true", true), ("false", false)])?;
        self.expect(",")?;
        self.key("proto")?;
        let proto = self.proto()?;
        self.expect(")")?;
        Ok(Action::CommitEcmpNh { ipv6, proto })
    }

    fn commit_lb_aff(&mut self) -> Parsed<Action> {
        self.expect("(")?;
        self.key("vip")?;
        let vip = self.quoted_endpoint()?;
        self.expect(",")?;
        self.key("backend")?;
        let backend = self.quoted_endpoint()?;
        self.expect(",")?;
        let mut proto = None;
        if matches!(self.peek(), Token::Id(id) if id == "proto") {
            self.key("proto")?;
            proto = Some(self.proto()?);
            self.expect(",")?;
        }
        self.key("timeout")?;
        let timeout = self.number(65535u32)?;
        self.expect(")")?;
        Ok(Action::CommitLbAff {
            vip,
            backend,
            proto,
            timeout,
        })
    }

    fn sample(&mut self) -> Parsed<Action> {
        let mut sample = Sample {
            probability: 0,
            collector_set: 0,
            obs_domain: 0,
            obs_point: ObsPoint::Id(0),
        };
        let start = self.span().start;
        self.expect("(")?;
        while !self.eat(")") {
            let key_at = self.span();
            let key = self.id("a key")?;
            self.expect("=")?;
            match key.as_str() {
                "probability" => sample.probability = self.number(65535u32)?,
                "collector_set" => sample.collector_set = self.number(u32::MAX)?,
                "obs_domain" => sample.obs_domain = self.number(255u32)?,
                "obs_point" => sample.obs_point = self.obs_point()?,
                _ => {
                    let message =
                        "sample takes probability, collector_set, obs_domain and obs_point";
                    return Err(ParseError::new(key_at, message));
                }
            }
            if !self.eat(",") && *self.peek() != Token::Punct(")") {
                return self.unexpected("`,'");
            }
        }
        if sample.probability == 0 {
            return Err(ParseError::new(
                self.since(start),
                "probability must be at least 1",
            ));
        }
        Ok(Action::Sample(sample))
    }

    fn obs_point(&mut self) -> Parsed<ObsPoint> {
        match self.peek().clone() {
            Token::Set(name) if &*name == "cookie" => {
                self.advance();
                Ok(ObsPoint::Cookie)
            }
            Token::Id(_) => self.field().map(ObsPoint::Field),
            _ => self.number(u32::MAX).map(ObsPoint::Id),
        }
    }

    /// `field = ...`, `field <-> field`, `ip.ttl--`.
    fn assignment(&mut self, start: usize) -> Parsed<Action> {
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
    fn result_of(&mut self, result: Field, id: &str, start: usize) -> Parsed<Action> {
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

    fn call(&mut self, result: Option<Field>, name: CallName, start: usize) -> Parsed<Action> {
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

    fn packet_options(&mut self) -> Parsed<Vec<PacketOption>> {
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

    fn select(&mut self, result: Field, start: usize) -> Parsed<Action> {
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
