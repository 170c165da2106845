//! Actions that look something up in a table of the bridge or hand something to the controller by its fields, and the
//! actions that learn flows.

use std::net::IpAddr;

use weft_lang::action::{CallName, Endpoint, Proto};
use weft_lang::{Field, field};
use weft_openflow::{Action, Field as Of, Learn, LearnSpec};

use super::opcode::Opcode;
use super::{Done, Encoder, Unsupported, subfield};
use crate::flow::{REG_FLAGS, REG_INPORT, REG_OUTPORT};
use crate::tables::{self, flag};

impl Encoder<'_, '_> {
    pub(super) fn call(&mut self, name: CallName, result: Option<Field>, args: &[Field]) -> Done {
        use CallName as C;
        match name {
            C::GetArp => self.get_mac(args, Of::Reg0),
            C::GetNd => self.get_mac(args, Of::XXReg0),
            C::PutArp => self.put_mac(args, Of::Reg0, Opcode::PutArp),
            C::PutNd => self.put_mac(args, Of::XXReg0, Opcode::PutNd),
            C::LookupArp => self.lookup_mac(result, args, Of::Reg0),
            C::LookupNd => self.lookup_mac(result, args, Of::XXReg0),
            C::LookupArpIp => self.lookup_ip(result, args, Of::Reg0),
            C::LookupNdIp => self.lookup_ip(result, args, Of::XXReg0),
            C::GetFdb => self.get_fdb(result, args),
            C::PutFdb => {
                let [port, mac] = exactly(name, args)?;
                self.with_args(&[(port, REG_INPORT), (mac, Of::EthSrc)], |encoder| {
                    encoder.controller(Opcode::PutFdb, &[]);
                    Ok(())
                })
            }
            C::LookupFdb => {
                let [port, mac] = exactly(name, args)?;
                self.with_args(&[(port, REG_INPORT), (mac, Of::EthSrc)], |encoder| {
                    encoder.ask(tables::LOOKUP_FDB, flag::LOOKUP_FDB);
                    Ok(())
                })?;
                self.answer(result, flag::LOOKUP_FDB)
            }
            C::ChkLbHairpin => self.check(result, tables::CHK_LB_HAIRPIN, flag::LOOKUP_LB_HAIRPIN),
            C::ChkLbHairpinReply => self.check(
                result,
                tables::CHK_LB_HAIRPIN_REPLY,
                flag::LOOKUP_LB_HAIRPIN,
            ),
            C::ChkLbAff => self.check(result, tables::CHK_LB_AFFINITY, flag::USE_LB_AFF_SESSION),
            C::ChkEcmpNhMac => self.check(result, tables::ECMP_NH_MAC, flag::LOOKUP_COMMIT_ECMP_NH),
            C::ChkEcmpNh => self.check(result, tables::ECMP_NH, flag::LOOKUP_COMMIT_ECMP_NH),
            C::CheckInPortSec => self.check(result, tables::CHK_IN_PORT_SEC, flag::CHECK_PORT_SEC),
            C::CheckOutPortSec => {
                self.check(result, tables::CHK_OUT_PORT_SEC, flag::CHECK_PORT_SEC)
            }
            C::HandleSvcCheck => {
                let [port] = exactly(name, args)?;
                self.with_args(&[(port, REG_INPORT)], |encoder| {
                    encoder.controller(Opcode::HandleSvcCheck, &[]);
                    Ok(())
                })
            }
            C::HandleBfdMsg => {
                self.controller(Opcode::HandleBfdMsg, &[]);
                Ok(())
            }
            C::DnsLookup => {
                let params = self.verdict(result)?;
                self.send(Opcode::DnsLookup, &params, true, None);
                Ok(())
            }
            C::CtNwDst => self.copy_out(result, Of::CtNwDst),
            C::CtIp6Dst => self.copy_out(result, Of::CtIpv6Dst),
            C::CtTpDst => self.copy_out(result, Of::CtTpDst),
            C::GetRemoteFdb | C::CtStateSave => Err(Unsupported::Action(name.name().into())),
        }
    }

    /// Searches `table`, whose flows set `bit` of the flags.
    fn ask(&mut self, table: u8, bit: u32) {
        self.out.push(Action::SetField {
            field: REG_FLAGS,
            value: 0,
            mask: bit.into(),
        });
        self.resubmit(table);
    }

    /// Stores what [`Encoder::ask`] found.
    fn answer(&mut self, result: Option<Field>, bit: u32) -> Done {
        let result = result.ok_or_else(|| Unsupported::Field("(no result)".into()))?;
        let flag = REG_FLAGS.bit(bit.trailing_zeros() as u8);
        self.out.push(Action::copy(flag, subfield(result)?));
        Ok(())
    }

    fn check(&mut self, result: Option<Field>, table: u8, bit: u32) -> Done {
        self.ask(table, bit);
        self.answer(result, bit)
    }

    fn get_mac(&mut self, args: &[Field], address: Of) -> Done {
        let [port, ip] = exactly(CallName::GetArp, args)?;
        self.with_args(&[(port, REG_OUTPORT), (ip, address)], |encoder| {
            encoder.out.push(Action::set(Of::EthDst, 0u32));
            encoder.resubmit(tables::MAC_BINDING);
            Ok(())
        })
    }

    fn put_mac(&mut self, args: &[Field], address: Of, opcode: Opcode) -> Done {
        let [port, ip, mac] = exactly(CallName::PutArp, args)?;
        self.with_args(
            &[(port, REG_INPORT), (ip, address), (mac, Of::EthSrc)],
            |encoder| {
                encoder.controller(opcode, &[]);
                Ok(())
            },
        )
    }

    fn lookup_mac(&mut self, result: Option<Field>, args: &[Field], address: Of) -> Done {
        let [port, ip, mac] = exactly(CallName::LookupArp, args)?;
        self.with_args(
            &[(port, REG_INPORT), (ip, address), (mac, Of::EthSrc)],
            |encoder| {
                encoder.ask(tables::MAC_LOOKUP, flag::LOOKUP_MAC);
                Ok(())
            },
        )?;
        self.answer(result, flag::LOOKUP_MAC)
    }

    /// The table of `get_arp` also tells whether there is a binding at all; the MAC it stores is put back.
    fn lookup_ip(&mut self, result: Option<Field>, args: &[Field], address: Of) -> Done {
        let [port, ip] = exactly(CallName::LookupArpIp, args)?;
        self.with_args(&[(port, REG_OUTPORT), (ip, address)], |encoder| {
            encoder.out.push(Action::Push(Of::EthDst.whole()));
            encoder.ask(tables::MAC_BINDING, flag::LOOKUP_MAC);
            encoder.out.push(Action::Pop(Of::EthDst.whole()));
            Ok(())
        })?;
        self.answer(result, flag::LOOKUP_MAC)
    }

    fn get_fdb(&mut self, result: Option<Field>, args: &[Field]) -> Done {
        let [mac] = exactly(CallName::GetFdb, args)?;
        if result != Some(field::OUTPORT) {
            return Err(Unsupported::Action(
                "get_fdb into anything but outport".into(),
            ));
        }
        self.with_args(&[(mac, Of::EthDst)], |encoder| {
            encoder.out.push(Action::set(REG_OUTPORT, 0u32));
            encoder.resubmit(tables::GET_FDB);
            Ok(())
        })
    }

    /// Where the controller is to say whether it has changed the packet, for the beginning of user data.
    pub(super) fn verdict(&mut self, result: Option<Field>) -> Result<[u8; 2], Unsupported> {
        let result = result.ok_or_else(|| Unsupported::Field("(no result)".into()))?;
        let bit = subfield(result)?;
        let register = bit.field.reg_index().filter(|_| bit.bits == 1);
        let register = register.ok_or_else(|| Unsupported::Field(result.to_string()))?;
        Ok([register, bit.offset])
    }

    fn copy_out(&mut self, result: Option<Field>, from: Of) -> Done {
        let result = result.ok_or_else(|| Unsupported::Field("(no result)".into()))?;
        self.out.push(Action::copy(from, subfield(result)?));
        Ok(())
    }

    /// Remembers by which next hop a connection came (or went), in two tables: one for the packets in its direction,
    /// which must come from the same MAC, one for the answers.
    pub(super) fn commit_ecmp_nh(&mut self, ipv6: bool, proto: Proto) {
        let (eth_type, src, dst) = match ipv6 {
            false => (0x0800u32, Of::Ipv4Src, Of::Ipv4Dst),
            true => (0x86dd, Of::Ipv6Src, Of::Ipv6Dst),
        };
        let (sport, dport) = match proto {
            Proto::Tcp => (Of::TcpSrc, Of::TcpDst),
            Proto::Udp => (Of::UdpSrc, Of::UdpDst),
            Proto::Sctp => (Of::SctpSrc, Of::SctpDst),
        };
        let base = || {
            vec![
                LearnSpec::matching(Of::Metadata, Of::Metadata),
                LearnSpec::matching_value(eth_type, Of::EthType),
                LearnSpec::matching_value(proto.number(), Of::IpProto),
            ]
        };
        let found = LearnSpec::loading_value(
            1u32,
            REG_FLAGS.bit(flag::LOOKUP_COMMIT_ECMP_NH.trailing_zeros() as u8),
        );
        let mut same = base();
        same.extend(
            [
                (src, src),
                (dst, dst),
                (sport, sport),
                (dport, dport),
                (Of::EthSrc, Of::EthSrc),
            ]
            .map(|(from, to)| LearnSpec::matching(from, to)),
        );
        same.push(found);
        let mut back = base();
        back.extend(
            [(dst, src), (src, dst), (dport, sport), (sport, dport)]
                .map(|(from, to)| LearnSpec::matching(from, to)),
        );
        back.push(found);
        for (table, specs) in [(tables::ECMP_NH_MAC, same), (tables::ECMP_NH, back)] {
            self.learn(table, ECMP_NH_IDLE_SECONDS, specs);
        }
    }

    /// Remembers which backend a client got: its next connections go there while the affinity lasts.
    pub(super) fn commit_lb_aff(
        &mut self,
        vip: &Endpoint,
        backend: &Endpoint,
        proto: Option<Proto>,
        timeout: u16,
    ) {
        let number = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => u128::from(u32::from(ip)),
            IpAddr::V6(ip) => u128::from(ip),
        };
        let (eth_type, src, dst, to_ip) = match vip.ip {
            IpAddr::V4(_) => (0x0800u32, Of::Ipv4Src, Of::Ipv4Dst, Of::Reg4),
            // Where the virtual address is not: a switch keeps that in xxreg1.
            IpAddr::V6(_) if self.cx.is_router => (0x86dd, Of::Ipv6Src, Of::Ipv6Dst, Of::XXReg1),
            IpAddr::V6(_) => (0x86dd, Of::Ipv6Src, Of::Ipv6Dst, Of::XXReg0),
        };
        let mut specs = vec![
            LearnSpec::matching(Of::Metadata, Of::Metadata),
            LearnSpec::matching_value(eth_type, Of::EthType),
            LearnSpec::matching(src, src),
            LearnSpec::matching_value(number(vip.ip), dst),
        ];
        if let (Some(proto), Some(port)) = (proto, vip.port) {
            let dport = match proto {
                Proto::Tcp => Of::TcpDst,
                Proto::Udp => Of::UdpDst,
                Proto::Sctp => Of::SctpDst,
            };
            specs.push(LearnSpec::matching_value(proto.number(), Of::IpProto));
            specs.push(LearnSpec::matching_value(port, dport));
        }
        specs.push(LearnSpec::loading_value(
            1u32,
            REG_FLAGS.bit(flag::USE_LB_AFF_SESSION.trailing_zeros() as u8),
        ));
        specs.push(LearnSpec::loading_value(number(backend.ip), to_ip));
        if let Some(port) = backend.port {
            specs.push(LearnSpec::loading_value(port, Of::Reg8.bits(0, 15)));
        }
        self.learn(tables::CHK_LB_AFFINITY, timeout, specs);
    }

    fn learn(&mut self, table: u8, idle_timeout: u16, specs: Vec<LearnSpec>) {
        self.out.push(Action::Learn(Box::new(Learn {
            table,
            priority: 100,
            cookie: self.cx.cookie.into(),
            idle_timeout,
            delete_learned: true,
            specs,
            ..Learn::default()
        })));
    }
}

/// Seconds without packets after which the next hop of a connection is forgotten.
const ECMP_NH_IDLE_SECONDS: u16 = 20;

/// The arguments, of which the parser has checked that there are so many.
fn exactly<const N: usize>(name: CallName, args: &[Field]) -> Result<[Field; N], Unsupported> {
    args.try_into()
        .map_err(|_| Unsupported::Action(format!("{} with {} arguments", name.name(), args.len())))
}
