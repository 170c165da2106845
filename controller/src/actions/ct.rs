//! Connection tracking: zones, commits, translation, load balancing.

use std::net::IpAddr;

use weft_lang::action::{
    Action as Logical, Endpoint, Lb, LbFlag, LbKind, NatKind, NatTarget, NatZone,
};
use weft_lang::{Const, Field, field};
use weft_openflow::{Action, ActionList, Ct, Field as Of, Nat, NatRange, SubField, Zone};

use super::{DEFAULT_WEIGHT, Done, Encoder, Unsupported, hash_fields_of, subfield};
use crate::flow::{BucketSpec, GroupSpec, REG_CT_ZONE, REG_DNAT_ZONE, REG_SNAT_ZONE};
use crate::tables;

/// Bits of ct_mark or ct_label that `ct_lb` and its kin set.
mod lb_bit {
    pub const NATTED: u128 = 1 << 1;
    pub const SKIP_SNAT: u128 = 1 << 2;
    pub const FORCE_SNAT: u128 = 1 << 3;
}

impl Encoder<'_, '_> {
    pub(super) fn ct(&mut self, action: &Logical) -> Done {
        match action {
            Logical::CtNext(zone) => self.track(*zone, false),
            Logical::CtCommit(assignments) => self.commit(assignments),
            Logical::CtCommitV1 { mark, label } => {
                let mut all = Vec::new();
                all.extend(
                    mark.clone()
                        .map(|value| Logical::Set(field::CT_MARK, value)),
                );
                all.extend(
                    label
                        .clone()
                        .map(|value| Logical::Set(field::CT_LABEL, value)),
                );
                self.commit(&all)
            }
            Logical::CtCommitToZone(zone) => {
                let zone = self.zone(Some(*zone));
                self.push_ct(Ct {
                    commit: true,
                    zone,
                    exec: exec([Action::Nat(Box::new(Nat::src(None)))]),
                    ..Ct::default()
                });
                Ok(())
            }
            Logical::CtCommitNat(zone) => {
                let (zone, table) = (self.zone(*zone), Some(self.next_table()?));
                self.push_ct(Ct {
                    commit: true,
                    zone,
                    table,
                    exec: exec([existing()]),
                    ..Ct::default()
                });
                Ok(())
            }
            Logical::CtNat(kind, target) => self.nat(*kind, target.as_ref()),
            Logical::CtClear => {
                self.out.push(Action::CtClear);
                Ok(())
            }
            Logical::CtLb(lb) => self.balance(lb),
            Logical::CtSnatToVip => {
                self.resubmit(tables::CT_SNAT_HAIRPIN);
                Ok(())
            }
            _ => Err(Unsupported::Action("ct".into())),
        }
    }

    fn push_ct(&mut self, ct: Ct) {
        self.out.push(Action::Ct(Box::new(ct)));
    }

    /// The zone of the logical port on a switch; on a router one of its two, that for DNAT unless said otherwise.
    fn zone(&self, zone: Option<NatZone>) -> Zone {
        zone_of(match (zone, self.cx.is_router) {
            (Some(NatZone::Snat), true) => REG_SNAT_ZONE,
            (_, true) => REG_DNAT_ZONE,
            (_, false) => REG_CT_ZONE,
        })
    }

    /// Through the connection table, then on.
    fn track(&mut self, zone: Option<NatZone>, translate: bool) -> Done {
        let (zone, table) = (self.zone(zone), Some(self.next_table()?));
        let exec = if translate {
            exec([existing()])
        } else {
            ActionList::new()
        };
        self.push_ct(Ct {
            zone,
            table,
            exec,
            ..Ct::default()
        });
        Ok(())
    }

    fn commit(&mut self, assignments: &[Logical]) -> Done {
        let zone = self.zone(None);
        let sets = self.apart(|encoder| {
            // Without an address this only changes the source port should the connection collide with a translated one.
            encoder.out.push(Action::Nat(Box::new(Nat::src(None))));
            assignments
                .iter()
                .try_for_each(|assignment| encoder.assign_in_commit(assignment))
        })?;
        self.push_ct(Ct {
            commit: true,
            zone,
            exec: sets,
            ..Ct::default()
        });
        Ok(())
    }

    /// Sets ct_mark or ct_label; nothing else can be set in a commit.
    fn assign_in_commit(&mut self, assignment: &Logical) -> Done {
        let target = |field: Field| -> Result<SubField, Unsupported> {
            let sub = subfield(field)?;
            match sub.field {
                Of::CtMark | Of::CtLabel => Ok(sub),
                _ => Err(Unsupported::Field(field.to_string())),
            }
        };
        match assignment {
            Logical::Set(field, value @ Const::Int(_)) => {
                target(*field)?;
                self.set(*field, value)
            }
            Logical::Move(to, from) => {
                let to = target(*to)?;
                self.out.push(Action::copy(subfield(*from)?, to));
                Ok(())
            }
            other => {
                let text = weft_lang::Actions(std::slice::from_ref(other)).to_string();
                Err(Unsupported::Action(format!("{text} in ct_commit")))
            }
        }
    }

    fn nat(&mut self, kind: NatKind, target: Option<&NatTarget>) -> Done {
        let zone = zone_of(match kind {
            NatKind::Snat => REG_SNAT_ZONE,
            NatKind::Dnat | NatKind::DnatInCzone | NatKind::SnatInCzone => REG_DNAT_ZONE,
        });
        let table = Some(self.next_table()?);
        let nat = match target {
            None => Nat::existing(),
            Some(target) => {
                let range = Some(range(target.ip));
                let nat = match kind {
                    NatKind::Snat | NatKind::SnatInCzone => Nat::src(range),
                    NatKind::Dnat | NatKind::DnatInCzone => Nat::dst(range),
                };
                let ports = target
                    .ports
                    .map(|(first, last)| (first, (last != first).then_some(last)));
                Nat { ports, ..nat }
            }
        };
        self.push_ct(Ct {
            commit: target.is_some(),
            zone,
            table,
            exec: exec([Action::Nat(Box::new(nat))]),
            ..Ct::default()
        });
        Ok(())
    }

    fn balance(&mut self, lb: &Lb) -> Done {
        if lb.backends.is_empty() {
            return self.track(None, true);
        }
        let (zone, table) = (self.zone(None), Some(self.next_table()?));
        let mut bits = lb_bit::NATTED;
        match lb.flag {
            Some(LbFlag::SkipSnat) => bits |= lb_bit::SKIP_SNAT,
            Some(LbFlag::ForceSnat) => bits |= lb_bit::FORCE_SNAT,
            None => {}
        }
        let register = if lb.kind == LbKind::Label {
            Of::CtLabel
        } else {
            Of::CtMark
        };
        let note = Action::SetField {
            field: register,
            value: bits,
            mask: bits,
        };
        let bucket = |backend: &Endpoint| {
            let nat = Nat {
                ports: backend.port.map(|port| (port, None)),
                ..Nat::dst(Some(range(backend.ip)))
            };
            let exec = exec([Action::Nat(Box::new(nat)), note.clone()]);
            let ct = Ct {
                commit: true,
                zone,
                table,
                exec,
                ..Ct::default()
            };
            BucketSpec::new(DEFAULT_WEIGHT, [Action::Ct(Box::new(ct))])
        };
        let here = |n: usize| {
            lb.behind
                .get(n)
                .is_none_or(|port| (self.cx.is_resident)(port))
        };
        let backends = lb.backends.iter().enumerate().filter(|(n, _)| here(*n));
        let buckets: Vec<_> = backends.map(|(_, backend)| bucket(backend)).collect();
        if buckets.is_empty() {
            // Other chassis have backends; what came here is dropped.
            return Ok(());
        }
        self.group(GroupSpec {
            hash_fields: hash_fields_of(lb.hash_fields.as_ref())?,
            buckets,
        });
        Ok(())
    }
}

fn zone_of(register: Of) -> Zone {
    Zone::Field(register.bits(0, 15))
}

fn existing() -> Action {
    Action::Nat(Box::new(Nat::existing()))
}

fn exec<const N: usize>(actions: [Action; N]) -> ActionList {
    actions.into()
}

fn range(ip: IpAddr) -> NatRange {
    match ip {
        IpAddr::V4(ip) => NatRange::V4(ip, None),
        IpAddr::V6(ip) => NatRange::V6(ip, None),
    }
}
