//! Actions on connections: tracking, translation, load balancing, symmetric routes.

use super::Parsed;
use crate::action::{Action, Endpoint, Lb, LbFlag, LbKind, NatTarget, NatZone};
use crate::field;
use crate::lexer::{ParseError, Token};
use crate::parse::Parser;

impl Parser {
    pub(super) fn optional_zone(&mut self) -> Parsed<Option<NatZone>> {
        if !self.eat("(") {
            return Ok(None);
        }
        let zone = self.word(&[("dnat", NatZone::Dnat), ("snat", NatZone::Snat)])?;
        self.expect(")")?;
        Ok(Some(zone))
    }

    /// The rest of `(IP, low-high)`.
    pub(super) fn nat_target(&mut self) -> Parsed<NatTarget> {
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

    pub(super) fn ct_commit(&mut self) -> Parsed<Action> {
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

    pub(super) fn lb(&mut self, kind: LbKind) -> Parsed<Action> {
        let mut lb = Lb {
            kind,
            backends: Vec::new(),
            behind: Vec::new(),
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
            if kind == LbKind::MarkLocal {
                lb.behind.push(self.quoted()?);
                self.expect(":")?;
            }
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

    pub(super) fn endpoint(&mut self) -> Parsed<Endpoint> {
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
    pub(super) fn quoted_endpoint(&mut self) -> Parsed<Endpoint> {
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

    pub(super) fn commit_ecmp_nh(&mut self) -> Parsed<Action> {
        self.expect("(")?;
        self.key("ipv6")?;
        let ipv6 = self.word(&[("true", true), ("false", false)])?;
        self.expect(",")?;
        self.key("proto")?;
        let proto = self.proto()?;
        self.expect(")")?;
        Ok(Action::CommitEcmpNh { ipv6, proto })
    }

    pub(super) fn commit_lb_aff(&mut self) -> Parsed<Action> {
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
}
