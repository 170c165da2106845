//! Actions that tell somebody: logs, samples, events; and forwarding groups.

use super::Parsed;
use crate::action::{Action, Log, ObsPoint, Sample, TriggerEvent};
use crate::constant::Str;
use crate::lexer::{ParseError, Token};
use crate::parse::Parser;
use crate::suggest::nearest;

impl Parser {
    pub(super) fn log(&mut self) -> Parsed<Action> {
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

    pub(super) fn one_of(&mut self, what: &str, values: &[&str]) -> Parsed<Str> {
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

    pub(super) fn fwd_group(&mut self) -> Parsed<Action> {
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

    pub(super) fn trigger_event(&mut self) -> Parsed<Action> {
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

    pub(super) fn key(&mut self, key: &str) -> Parsed<()> {
        if !self.eat_id(key) {
            return self.unexpected(&format!("`{key}'"));
        }
        self.expect("=")
    }

    pub(super) fn sample(&mut self) -> Parsed<Action> {
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

    pub(super) fn obs_point(&mut self) -> Parsed<ObsPoint> {
        match self.peek().clone() {
            Token::Set(name) if &*name == "cookie" => {
                self.advance();
                Ok(ObsPoint::Cookie)
            }
            Token::Id(_) => self.field().map(ObsPoint::Field),
            _ => self.number(u32::MAX).map(ObsPoint::Id),
        }
    }
}
