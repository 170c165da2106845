//! Logical actions to OpenFlow actions.
//!
//! Where ovn-architecture(7) describes an implementation, this is it. An action that cannot be carried out is an
//! [`Unsupported`] error that names it: a logical flow is encoded as a whole or not at all, but for samples.

mod advert;
mod calls;
mod ct;
pub mod dhcp;
mod nested;
pub mod opcode;

use std::sync::Arc;

use weft_lang::action::{Action as Logical, ObsPoint, OptionsKind, Sample};
use weft_lang::{Const, Field, Pipeline, field};
use weft_openflow::{Action, ActionList, Controller, Field as Of, SubField};
use weft_ovsdb::model::Str;

use crate::flow::{Actions, BucketSpec, GroupSpec, MeterSpec, REG_INPORT, REG_OUTPORT};
use crate::tables;
use opcode::Opcode;

/// What the actions of a logical flow are encoded in.
pub struct Context<'a> {
    /// Its pipeline.
    pub pipeline: Pipeline,
    /// Its table within the pipeline.
    pub table: u8,
    /// First 32 bits of its UUID.
    pub cookie: u32,
    /// Key of the datapath.
    pub dp_key: u32,
    /// Whether the datapath is a logical router.
    pub is_router: bool,
    /// The meter for everything it sends to the controller.
    pub controller_meter: Option<Str>,
    /// Key of the port or multicast group of that name on the datapath.
    pub port_key: &'a dyn Fn(&str) -> Option<u32>,
    /// Whether the port of that name is on this chassis.
    pub is_resident: &'a dyn Fn(&str) -> bool,
    /// The OpenFlow port of the tunnel to the chassis of the port of that name, if it is at another.
    pub tunnel_to: &'a dyn Fn(&str) -> Option<u32>,
    /// Whether there is a meter of that name.
    pub has_meter: &'a dyn Fn(&str) -> bool,
    /// The DHCP option of that name.
    pub dhcp_option: dhcp::FindOption<'a>,
}

/// Why actions cannot be encoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// No implementation.
    #[error("action {0} is not supported by this controller")]
    Action(String),
    /// A name that means nothing here.
    #[error("no port or multicast group \"{0}\" on the datapath")]
    Port(Str),
    /// A field that is not in the packet or a register.
    #[error("field {0} cannot be used so")]
    Field(String),
    /// An option of an answer.
    #[error("option {0} {1}")]
    Option(Str, &'static str),
    /// A table that is beyond the bridge's.
    #[error("there is no {pipeline} table {table}", pipeline = .0.name(), table = .1)]
    Table(Pipeline, u8),
}

/// What encoding yields.
#[derive(Debug, Default)]
pub struct Encoded {
    /// The actions with groups and meters.
    pub actions: Actions,
    /// Meters that exist only for these actions.
    pub own_meters: Vec<Arc<MeterSpec>>,
    /// Whether the result depends on the datapath beyond its being a switch or router.
    pub datapath_bound: bool,
    /// What was left out: packets fare no other way without it.
    pub left_out: Vec<Unsupported>,
}

/// Encodes all actions of a logical flow.
pub fn encode(context: &Context<'_>, actions: &[Logical]) -> Result<Encoded, Unsupported> {
    let mut encoder = Encoder {
        cx: context,
        out: Vec::new(),
        result: Encoded::default(),
        in_userdata: false,
    };
    encoder.all(actions)?;
    let mut result = encoder.result;
    result.actions.list = encoder.out.as_slice().into();
    Ok(result)
}

/// The OpenFlow table of a logical table.
pub fn of_table(pipeline: Pipeline, table: u8) -> Result<u8, Unsupported> {
    let (first, len) = match pipeline {
        Pipeline::Ingress => (tables::LOG_INGRESS, tables::LOG_PIPELINE_LEN),
        Pipeline::Egress => (tables::LOG_EGRESS, tables::LOG_EGRESS_LEN),
    };
    if table < len {
        Ok(first + table)
    } else {
        Err(Unsupported::Table(pipeline, table))
    }
}

/// The OpenFlow bits of a logical field.
pub fn subfield(field: Field) -> Result<SubField, Unsupported> {
    use weft_lang::field::Home;
    let own = field.resolve();
    let symbol = own.symbol();
    let bad = || Unsupported::Field(field.to_string());
    let whole = match symbol.home {
        Home::Of(of) => crate::lflow::of_field(of).ok_or_else(bad)?,
        Home::Regs(first) => match symbol.width {
            0..=32 => Of::reg(first),
            33..=64 => Of::xreg(first / 2),
            _ => Of::xxreg(first / 4),
        },
        Home::Sub(_) | Home::Controller => return Err(bad()),
    };
    let (low, high) = (own.low(), own.low() + own.width() - 1);
    Ok(narrow(whole, low, high))
}

/// Bits of a wide register are named by the 32-bit register they lie in, if they lie in one.
fn narrow(field: Of, low: u8, high: u8) -> SubField {
    let wide = match (field as u8).checked_sub(Of::XReg0 as u8) {
        Some(n) if n < 8 => Some((n * 2, 2u8)),
        Some(n) if n < 12 => Some(((n - 8) * 4, 4u8)),
        _ => None,
    };
    match wide {
        Some((first, count)) if low / 32 == high / 32 => {
            Of::reg(first + count - 1 - low / 32).bits(low % 32, high % 32)
        }
        _ => field.bits(low, high),
    }
}

/// Encoding under way.
struct Encoder<'a, 'b> {
    cx: &'a Context<'b>,
    out: Vec<Action>,
    result: Encoded,
    /// The bytes become user data: what comes up for them has passed a meter already.
    in_userdata: bool,
}

type Done = Result<(), Unsupported>;

impl Encoder<'_, '_> {
    fn all(&mut self, actions: &[Logical]) -> Done {
        actions.iter().try_for_each(|action| self.one(action))
    }

    /// Encodes into a list of its own.
    fn apart(&mut self, encode: impl FnOnce(&mut Self) -> Done) -> Result<ActionList, Unsupported> {
        let outer = std::mem::take(&mut self.out);
        let done = encode(self);
        let inner = std::mem::replace(&mut self.out, outer);
        done.map(|()| inner.as_slice().into())
    }

    fn one(&mut self, action: &Logical) -> Done {
        match action {
            Logical::Output => self.resubmit(self.output_table()),
            Logical::Drop => {}
            Logical::Next(table) => self.next(self.cx.pipeline, *table)?,
            Logical::NextIn(pipeline, table) => self.next(*pipeline, Some(*table))?,
            Logical::Set(field, value) => self.set(*field, value)?,
            Logical::Move(to, from) => self
                .out
                .push(Action::copy(subfield(*from)?, subfield(*to)?)),
            Logical::Exchange(a, b) => {
                let (a, b) = (subfield(*a)?, subfield(*b)?);
                self.out.extend(Action::exchange(a, b));
            }
            Logical::Push(field) => self.out.push(Action::Push(subfield(*field)?)),
            Logical::Pop(field) => self.out.push(Action::Pop(subfield(*field)?)),
            Logical::DecTtl => self.out.push(Action::DecTtl(Vec::new())),
            Logical::CtNext(_)
            | Logical::CtCommit(_)
            | Logical::CtCommitV1 { .. }
            | Logical::CtCommitToZone(_)
            | Logical::CtCommitNat(_)
            | Logical::CtNat(..)
            | Logical::CtClear
            | Logical::CtLb(_)
            | Logical::CtSnatToVip => self.ct(action)?,
            Logical::Nested(kind, inner) => self.nested(*kind, inner)?,
            Logical::Call { result, name, args } => self.call(*name, *result, args)?,
            Logical::CheckPktLarger(result, len) => {
                self.out.push(Action::CheckPktLarger {
                    len: *len,
                    dst: subfield(*result)?,
                });
            }
            Logical::SetQueue(0) => self.out.push(Action::PopQueue),
            Logical::SetQueue(queue) => self.out.push(Action::SetQueue(*queue)),
            Logical::SetMeter(rate, burst) => self.set_meter(*rate, *burst),
            Logical::Log(log) => self.log(log),
            Logical::Select {
                result,
                members,
                hash_fields,
            } => {
                self.select(*result, members, hash_fields.as_ref())?;
            }
            Logical::FwdGroup {
                liveness,
                child_ports,
            } => self.choose_port(*liveness, child_ports)?,
            Logical::Mirror(port) => self.mirror(port)?,
            Logical::Sample(sample) => self.sample(sample)?,
            Logical::MacCacheUse => self.resubmit(tables::MAC_CACHE_USE),
            Logical::PutOptions(OptionsKind::NdRa, result, options) => {
                self.put_nd_ra_opts(*result, options)?;
            }
            Logical::Igmp => self.controller(Opcode::Igmp, &[]),
            Logical::HandleDhcpv6Reply => self.controller(Opcode::HandleDhcpv6Reply, &[]),
            Logical::PutOptions(
                kind @ (OptionsKind::Dhcpv4 | OptionsKind::Dhcpv6),
                result,
                options,
            ) => {
                self.put_dhcp(*kind, *result, options)?;
            }
            Logical::DhcpRelayReqChk(result, relay, server) => {
                self.relay_dhcp(Opcode::DhcpRelayReqChk, *result, *relay, *server)?;
            }
            Logical::DhcpRelayRespChk(result, relay, server) => {
                self.relay_dhcp(Opcode::DhcpRelayRespChk, *result, *relay, *server)?;
            }
            Logical::TriggerEvent(event) => self.trigger_event(event),
            Logical::BindVport(port, parent) => self.bind_vport(port, *parent)?,
            Logical::CommitEcmpNh { ipv6, proto } => self.commit_ecmp_nh(*ipv6, *proto),
            Logical::CommitLbAff {
                vip,
                backend,
                proto,
                timeout,
            } => {
                self.commit_lb_aff(vip, backend, *proto, *timeout);
            }
            other => {
                return Err(Unsupported::Action(
                    weft_lang::Actions(std::slice::from_ref(other)).to_string(),
                ));
            }
        }
        Ok(())
    }

    fn resubmit(&mut self, table: u8) {
        self.out.push(Action::resubmit(table));
    }

    /// A copy for the port of a mirror, which may be where the packet came from.
    fn mirror(&mut self, port: &weft_lang::Str) -> Done {
        let key = (self.cx.port_key)(port).ok_or_else(|| Unsupported::Port(port.clone()))?;
        self.result.datapath_bound = true;
        let copy = [
            Action::set(REG_OUTPORT, key),
            Action::set(weft_openflow::Field::InPortNxm, u16::MAX),
            Action::resubmit(tables::REMOTE_OUTPUT),
        ];
        self.out.push(Action::Clone(copy.as_slice().into()));
        Ok(())
    }

    /// The OpenFlow table after this one, where processing goes on by itself.
    fn next_table(&self) -> Result<u8, Unsupported> {
        of_table(self.cx.pipeline, self.cx.table + 1)
    }

    fn next(&mut self, pipeline: Pipeline, table: Option<u8>) -> Done {
        let table = of_table(pipeline, table.unwrap_or(self.cx.table + 1))?;
        if (self.cx.pipeline, pipeline) == (Pipeline::Egress, Pipeline::Ingress)
            && !self.cx.is_router
        {
            // It may have to go back through the tunnel it came by.
            self.out
                .push(Action::set(weft_openflow::Field::InPortNxm, u16::MAX));
        }
        self.resubmit(table);
        Ok(())
    }

    fn set(&mut self, field: Field, value: &Const) -> Done {
        if field.symbol_field() == field::ICMP4_FRAG_MTU
            || field.symbol_field() == field::ICMP6_FRAG_MTU
        {
            return self.set_frag_mtu(field, value);
        }
        let target = subfield(field)?;
        let (value, mask) = match value {
            Const::Int(int) => (int.value(), int.mask()),
            Const::Str(name) if name.is_empty() => (0, None),
            Const::Str(name) => {
                self.result.datapath_bound = true;
                (
                    u128::from(
                        (self.cx.port_key)(name).ok_or_else(|| Unsupported::Port(name.clone()))?,
                    ),
                    None,
                )
            }
            Const::Set(_) | Const::Group(_) | Const::Template(_) => {
                return Err(Unsupported::Field(field.to_string()));
            }
        };
        let mask = mask.map_or(target.mask(), |mask| mask << target.offset & target.mask());
        self.out.push(Action::SetField {
            field: target.field,
            value: value << target.offset & mask,
            mask,
        });
        Ok(())
    }

    /// The ICMP fields that OpenFlow cannot set: the controller sets them and lets the packet go on.
    fn set_frag_mtu(&mut self, field: Field, value: &Const) -> Done {
        let mtu = value
            .as_int()
            .map(weft_lang::Int::value)
            .ok_or_else(|| Unsupported::Field(field.to_string()))?;
        let (opcode, bytes) = match field.symbol_field() == field::ICMP4_FRAG_MTU {
            true => (Opcode::PutIcmp4FragMtu, (mtu as u16).to_be_bytes().to_vec()),
            false => (Opcode::PutIcmp6FragMtu, (mtu as u32).to_be_bytes().to_vec()),
        };
        self.send(opcode, &bytes, true, None);
        Ok(())
    }

    fn controller(&mut self, opcode: Opcode, rest: &[u8]) {
        self.send(opcode, rest, false, None);
    }

    /// To the controller; `pause` waits for its answer, `meter` beats the flow's own.
    fn send(&mut self, opcode: Opcode, rest: &[u8], pause: bool, meter: Option<&Str>) {
        let meter = meter
            .or(self.cx.controller_meter.as_ref())
            .filter(|_| !self.in_userdata);
        let meter = meter.filter(|name| (self.cx.has_meter)(name)).cloned();
        let meter_id = meter.map(|name| self.meter(name));
        self.out.push(Action::Controller(Box::new(Controller {
            pause,
            meter_id,
            ..opcode.request(rest)
        })));
    }

    /// The place of a meter among those of these actions.
    fn meter(&mut self, name: Str) -> u32 {
        let meters = &mut self.result.actions.meters;
        let at = meters.iter().position(|m| *m == name).unwrap_or_else(|| {
            meters.push(name);
            meters.len() - 1
        });
        at as u32
    }

    /// Through a group.
    fn group(&mut self, spec: GroupSpec) {
        let groups = &mut self.result.actions.groups;
        groups.push(Arc::new(spec));
        self.out.push(Action::Group(groups.len() as u32 - 1));
    }

    fn set_meter(&mut self, rate: u64, burst: Option<u64>) {
        let name: Str = format!("__set_meter: rate={rate}, burst={}", burst.unwrap_or(0)).into();
        let number = |n: u64| u32::try_from(n).unwrap_or(u32::MAX);
        let bands = vec![(number(rate), number(burst.unwrap_or(0)))];
        self.result.own_meters.push(Arc::new(MeterSpec {
            name: name.clone(),
            packets: false,
            bands,
        }));
        let id = self.meter(name);
        self.out.push(Action::Meter(id));
    }

    fn log(&mut self, log: &weft_lang::action::Log) {
        let place = |words: &[&str], word: Option<&Str>, default: u8| {
            word.and_then(|w| words.iter().position(|known| *known == &**w))
                .map_or(default, |at| at as u8)
        };
        let verdict = place(&LOG_VERDICTS, log.verdict.as_ref(), UNKNOWN_VERDICT);
        let severity = place(&LOG_SEVERITIES, log.severity.as_ref(), DEFAULT_SEVERITY);
        let mut data = vec![verdict, severity];
        data.extend(log.name.iter().flat_map(|name| name.bytes()));
        self.send(Opcode::Log, &data, false, log.meter.as_ref());
    }

    fn select(
        &mut self,
        result: Field,
        members: &[(u16, Option<u16>)],
        hash_fields: Option<&Str>,
    ) -> Done {
        let (target, next) = (subfield(result)?, self.next_table()?);
        let buckets = members
            .iter()
            .map(|&(value, weight)| {
                let actions = [Action::load(value, target), Action::resubmit(next)];
                BucketSpec::new(weight.unwrap_or(DEFAULT_WEIGHT), actions)
            })
            .collect();
        self.group(GroupSpec {
            hash_fields: hash_fields_of(hash_fields)?,
            buckets,
        });
        Ok(())
    }

    /// Where packets go that have their output port.
    fn output_table(&self) -> u8 {
        match self.cx.pipeline {
            Pipeline::Ingress => tables::OUTPUT_LARGE_DETECT,
            Pipeline::Egress => tables::SAVE_INPORT,
        }
    }

    /// One of some ports, where the tunnels count among those whose tunnel is up.
    fn choose_port(&mut self, liveness: bool, ports: &[Str]) -> Done {
        self.result.datapath_bound = true;
        let output = self.output_table();
        let bucket = |name: &Str| {
            let key = (self.cx.port_key)(name).ok_or_else(|| Unsupported::Port(name.clone()))?;
            let actions = [Action::set(REG_OUTPORT, key), Action::resubmit(output)];
            let watch_port = (self.cx.tunnel_to)(name).filter(|_| liveness);
            Ok(BucketSpec {
                watch_port,
                ..BucketSpec::new(DEFAULT_WEIGHT, actions)
            })
        };
        let buckets = ports.iter().map(bucket).collect::<Result<_, _>>()?;
        self.group(GroupSpec {
            hash_fields: Vec::new(),
            buckets,
        });
        Ok(())
    }

    fn sample(&mut self, sample: &Sample) -> Done {
        self.result.datapath_bound = true;
        let obs_point_id = match sample.obs_point {
            ObsPoint::Id(id) => id,
            ObsPoint::Cookie => self.cx.cookie,
            ObsPoint::Field(field) => {
                // Open vSwitch before 3.4 has no action for that.
                let text = format!("sample with obs_point={field}");
                self.result.left_out.push(Unsupported::Action(text));
                return Ok(());
            }
        };
        self.out.push(Action::Sample(weft_openflow::Sample {
            probability: sample.probability,
            collector_set_id: sample.collector_set,
            obs_domain_id: u32::from(sample.obs_domain) << 24 | self.cx.dp_key & 0xff_ffff,
            obs_point_id,
            sampling_port: None,
            direction: weft_openflow::SampleDirection::Default,
        }));
        Ok(())
    }

    /// Each option as length and text of its name, length and text of its value.
    fn trigger_event(&mut self, event: &weft_lang::action::TriggerEvent) {
        let mut data = Vec::new();
        let mut text = |text: &str| {
            data.extend((text.len() as u16).to_be_bytes());
            data.extend(text.bytes());
        };
        text(&event.event);
        for (name, value) in &event.options {
            text(name);
            text(value);
        }
        self.send(Opcode::TriggerEvent, &data, false, event.meter.as_ref());
    }

    fn bind_vport(&mut self, port: &Str, parent: Field) -> Done {
        self.result.datapath_bound = true;
        let key = (self.cx.port_key)(port).ok_or_else(|| Unsupported::Port(port.clone()))?;
        self.with_args(&[(parent, REG_INPORT)], |encoder| {
            encoder.controller(Opcode::BindVport, &key.to_be_bytes());
            Ok(())
        })
    }

    /// Runs `body` with the arguments in the OpenFlow fields where it wants them, and puts those fields back afterwards.
    fn with_args(&mut self, args: &[(Field, Of)], body: impl FnOnce(&mut Self) -> Done) -> Done {
        let mut moved = Vec::new();
        for &(from, to) in args {
            let (from, to) = (subfield(from)?, to.whole());
            if from != to {
                moved.push((from, to));
            }
        }
        // All are read before any is written: an argument may live where another is wanted.
        self.out
            .extend(moved.iter().map(|&(_, to)| Action::Push(to)));
        self.out
            .extend(moved.iter().rev().map(|&(from, _)| Action::Push(from)));
        self.out
            .extend(moved.iter().map(|&(_, to)| Action::Pop(to)));
        body(self)?;
        self.out
            .extend(moved.iter().rev().map(|&(_, to)| Action::Pop(to)));
        Ok(())
    }
}

/// Verdicts of `log` by their number in user data.
pub const LOG_VERDICTS: [&str; 4] = ["allow", "drop", "reject", "pass"];
/// No verdict given.
pub const UNKNOWN_VERDICT: u8 = 255;
/// Severities of `log` by their number in user data.
pub const LOG_SEVERITIES: [&str; 5] = ["alert", "warning", "notice", "info", "debug"];
const DEFAULT_SEVERITY: u8 = 3;
/// Weight of a member of a group for which none is given.
const DEFAULT_WEIGHT: u16 = 100;

/// OpenFlow fields by name, as `hash_fields` lists them.
fn hash_fields_of(list: Option<&Str>) -> Result<Vec<Of>, Unsupported> {
    let names = list.map_or("", |list| &**list);
    names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty())
        .map(|name| Of::from_name(name).ok_or_else(|| Unsupported::Field(name.into())))
        .collect()
}
