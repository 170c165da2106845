//! Ports, the TLV table and errors.

use std::fmt;

use crate::action::next_property;
use crate::port::Port;
use crate::wire::{DecodeError, Put, Reader};

/// A port of the bridge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortDesc {
    /// Its number.
    pub port: Port,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Its name.
    pub name: String,
    /// `OFPPC_*`: bit 0 is down by configuration.
    pub config: u32,
    /// `OFPPS_*`: bit 0 is no link, bit 2 is live.
    pub state: u32,
    /// Current speed in kbit/s, 0 when unknown.
    pub speed_kbps: u32,
}

impl PortDesc {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let port = Port(r.u32()?);
        let len = usize::from(r.u16()?);
        let mut r = r.sub(
            len.checked_sub(6)
                .ok_or(DecodeError::Length { what: "port", len })?,
            "port",
        )?;
        r.skip(2)?;
        let mut mac = [0; 6];
        mac.copy_from_slice(r.take(6)?);
        r.skip(2)?;
        let name = text(r.take(16)?);
        let (config, state) = (r.u32()?, r.u32()?);
        let mut speed_kbps = 0;
        while let Some((kind, mut value)) = next_property(&mut r, "port property")? {
            if kind == 0 && value.len() >= 28 {
                value.skip(20)?;
                speed_kbps = value.u32()?;
            }
        }
        Ok(Self {
            port,
            mac,
            name,
            config,
            state,
            speed_kbps,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        let start = out.len();
        out.u32(self.port.0);
        out.zeros(4);
        out.bytes(&self.mac);
        out.zeros(2);
        let name = &self.name.as_bytes()[..self.name.len().min(16)];
        out.bytes(name);
        out.zeros(16 - name.len());
        out.u32(self.config);
        out.u32(self.state);
        crate::action::property(out, 0, |out| {
            out.zeros(20);
            out.u32(self.speed_kbps);
            out.zeros(4);
        });
        out.patch_len(start + 4, start);
    }
}

/// The text up to the first zero byte. What is no UTF-8 is replaced byte by byte, so that it does not grow.
pub(super) fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|b| *b == 0).unwrap_or(bytes.len());
    let chunks = bytes[..end].utf8_chunks();
    chunks.fold(String::new(), |text, chunk| {
        text + chunk.valid() + &"?".repeat(chunk.invalid().len())
    })
}

/// What happened to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortReason {
    /// It is new.
    Add,
    /// It is gone.
    Delete,
    /// It is different.
    Modify,
}

/// News of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PortStatus {
    /// What happened.
    pub reason: PortReason,
    /// The port as it is now, or was.
    pub port: PortDesc,
}

impl PortStatus {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let reason = match r.u8()? {
            0 => PortReason::Add,
            1 => PortReason::Delete,
            2 => PortReason::Modify,
            other => {
                return Err(DecodeError::Value {
                    what: "port status reason",
                    value: other.into(),
                });
            }
        };
        r.skip(7)?;
        Ok(Self {
            reason,
            port: PortDesc::decode(r)?,
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u8(match self.reason {
            PortReason::Add => 0,
            PortReason::Delete => 1,
            PortReason::Modify => 2,
        });
        out.zeros(7);
        self.port.encode(out);
    }
}

/// What to do with the TLV table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub enum TlvCommand {
    /// Add mappings.
    Add = 0,
    /// Delete mappings.
    Delete = 1,
    /// Delete all.
    Clear = 2,
}

/// A tunnel option and the `tun_metadata` field it is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TlvMap {
    /// Class of the option.
    pub class: u16,
    /// Its type.
    pub kind: u8,
    /// Bytes of its data, a multiple of four.
    pub len: u8,
    /// Number of the `tun_metadata` field.
    pub index: u16,
}

impl TlvMap {
    /// OVN's Geneve option: ingress and egress port keys (ovn-architecture(7)), as `tun_metadata0`.
    pub const OVN_GENEVE: TlvMap = TlvMap {
        class: 0x0102,
        kind: 0x80,
        len: 4,
        index: 0,
    };

    fn encode(&self, out: &mut Vec<u8>) {
        out.u16(self.class);
        out.u8(self.kind);
        out.u8(self.len);
        out.u16(self.index);
        out.zeros(2);
    }

    pub(super) fn encode_all(maps: &[TlvMap], out: &mut Vec<u8>) {
        maps.iter().for_each(|m| m.encode(out));
    }

    pub(super) fn decode_all(r: &mut Reader<'_>) -> Result<Vec<Self>, DecodeError> {
        let mut out = Vec::new();
        while !r.is_empty() {
            out.push(Self {
                class: r.u16()?,
                kind: r.u8()?,
                len: r.u8()?,
                index: r.u16()?,
            });
            r.skip(2)?;
        }
        Ok(out)
    }
}

/// The TLV table as the switch has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlvTable {
    /// Bytes of options there may be.
    pub max_space: u32,
    /// Fields there may be.
    pub max_fields: u16,
    /// Mappings.
    pub maps: Vec<TlvMap>,
}

impl TlvTable {
    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u32(self.max_space);
        out.u16(self.max_fields);
        out.zeros(10);
        TlvMap::encode_all(&self.maps, out);
    }

    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (max_space, max_fields) = (r.u32()?, r.u16()?);
        r.skip(10)?;
        Ok(Self {
            max_space,
            max_fields,
            maps: TlvMap::decode_all(r)?,
        })
    }
}

/// An error the switch reports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub struct OfError {
    /// `OFPET_*`; 0xffff for an experimenter's.
    pub kind: u16,
    /// Code within the kind, or the experimenter's error type.
    pub code: u16,
    /// The experimenter, when `kind` is 0xffff.
    pub experimenter: Option<u32>,
    /// Start of the message it is about, at least 64 bytes of it.
    pub offending: Vec<u8>,
}

impl OfError {
    pub(super) fn decode(r: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let (kind, code) = (r.u16()?, r.u16()?);
        let experimenter = if kind == 0xffff { Some(r.u32()?) } else { None };
        Ok(Self {
            kind,
            code,
            experimenter,
            offending: r.rest().to_vec(),
        })
    }

    pub(super) fn encode(&self, out: &mut Vec<u8>) {
        out.u16(self.kind);
        out.u16(self.code);
        if self.kind == 0xffff {
            out.u32(self.experimenter.unwrap_or(0));
        }
        out.bytes(&self.offending);
    }

    /// The transaction id of the offending message, if enough of it came back.
    #[must_use]
    pub fn offending_xid(&self) -> Option<u32> {
        self.offending
            .get(4..8)?
            .try_into()
            .ok()
            .map(u32::from_be_bytes)
    }

    /// The standard's or Open vSwitch's name of the error.
    #[must_use]
    pub fn name(&self) -> Option<&'static str> {
        let table = if self.kind == 0xffff {
            NICIRA_ERRORS
        } else {
            ERRORS
        };
        table
            .iter()
            .find(|(kind, code, _)| {
                (*kind, *code) == (if self.kind == 0xffff { 0 } else { self.kind }, self.code)
            })
            .map(|e| e.2)
    }
}

impl fmt::Display for OfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name)?,
            None => write!(f, "OpenFlow error type {} code {}", self.kind, self.code)?,
        }
        if let Some(kind) = self.offending.get(1) {
            write!(f, " for message type {kind}")?;
        }
        Ok(())
    }
}

/// Names of errors a controller can meet (OpenFlow 1.5, section 7.5.4).
const ERRORS: &[(u16, u16, &str)] = &[
    (0, 0, "OFPHFC_INCOMPATIBLE"),
    (0, 1, "OFPHFC_EPERM"),
    (1, 0, "OFPBRC_BAD_VERSION"),
    (1, 1, "OFPBRC_BAD_TYPE"),
    (1, 2, "OFPBRC_BAD_MULTIPART"),
    (1, 3, "OFPBRC_BAD_EXPERIMENTER"),
    (1, 4, "OFPBRC_BAD_EXP_TYPE"),
    (1, 5, "OFPBRC_EPERM"),
    (1, 6, "OFPBRC_BAD_LEN"),
    (1, 7, "OFPBRC_BUFFER_EMPTY"),
    (1, 8, "OFPBRC_BUFFER_UNKNOWN"),
    (1, 9, "OFPBRC_BAD_TABLE_ID"),
    (1, 10, "OFPBRC_IS_SLAVE"),
    (1, 11, "OFPBRC_BAD_PORT"),
    (1, 12, "OFPBRC_BAD_PACKET"),
    (1, 13, "OFPBRC_MULTIPART_BUFFER_OVERFLOW"),
    (2, 0, "OFPBAC_BAD_TYPE"),
    (2, 1, "OFPBAC_BAD_LEN"),
    (2, 2, "OFPBAC_BAD_EXPERIMENTER"),
    (2, 3, "OFPBAC_BAD_EXP_TYPE"),
    (2, 4, "OFPBAC_BAD_OUT_PORT"),
    (2, 5, "OFPBAC_BAD_ARGUMENT"),
    (2, 6, "OFPBAC_EPERM"),
    (2, 7, "OFPBAC_TOO_MANY"),
    (2, 8, "OFPBAC_BAD_QUEUE"),
    (2, 9, "OFPBAC_BAD_OUT_GROUP"),
    (2, 10, "OFPBAC_MATCH_INCONSISTENT"),
    (2, 11, "OFPBAC_UNSUPPORTED_ORDER"),
    (2, 12, "OFPBAC_BAD_TAG"),
    (2, 13, "OFPBAC_BAD_SET_TYPE"),
    (2, 14, "OFPBAC_BAD_SET_LEN"),
    (2, 15, "OFPBAC_BAD_SET_ARGUMENT"),
    (2, 16, "OFPBAC_BAD_SET_MASK"),
    (2, 17, "OFPBAC_BAD_METER"),
    (3, 0, "OFPBIC_UNKNOWN_INST"),
    (3, 1, "OFPBIC_UNSUP_INST"),
    (3, 2, "OFPBIC_BAD_TABLE_ID"),
    (3, 7, "OFPBIC_BAD_LEN"),
    (3, 9, "OFPBIC_DUP_INST"),
    (4, 0, "OFPBMC_BAD_TYPE"),
    (4, 1, "OFPBMC_BAD_LEN"),
    (4, 2, "OFPBMC_BAD_TAG"),
    (4, 5, "OFPBMC_BAD_WILDCARDS"),
    (4, 6, "OFPBMC_BAD_FIELD"),
    (4, 7, "OFPBMC_BAD_VALUE"),
    (4, 8, "OFPBMC_BAD_MASK"),
    (4, 9, "OFPBMC_BAD_PREREQ"),
    (4, 10, "OFPBMC_DUP_FIELD"),
    (4, 11, "OFPBMC_EPERM"),
    (5, 0, "OFPFMFC_UNKNOWN"),
    (5, 1, "OFPFMFC_TABLE_FULL"),
    (5, 2, "OFPFMFC_BAD_TABLE_ID"),
    (5, 3, "OFPFMFC_OVERLAP"),
    (5, 4, "OFPFMFC_EPERM"),
    (5, 5, "OFPFMFC_BAD_TIMEOUT"),
    (5, 6, "OFPFMFC_BAD_COMMAND"),
    (5, 7, "OFPFMFC_BAD_FLAGS"),
    (6, 0, "OFPGMFC_GROUP_EXISTS"),
    (6, 1, "OFPGMFC_INVALID_GROUP"),
    (6, 2, "OFPGMFC_WEIGHT_UNSUPPORTED"),
    (6, 3, "OFPGMFC_OUT_OF_GROUPS"),
    (6, 4, "OFPGMFC_OUT_OF_BUCKETS"),
    (6, 7, "OFPGMFC_LOOP"),
    (6, 8, "OFPGMFC_UNKNOWN_GROUP"),
    (6, 10, "OFPGMFC_BAD_TYPE"),
    (6, 11, "OFPGMFC_BAD_COMMAND"),
    (6, 12, "OFPGMFC_BAD_BUCKET"),
    (6, 15, "OFPGMFC_UNKNOWN_BUCKET"),
    (6, 16, "OFPGMFC_BUCKET_EXISTS"),
    (12, 0, "OFPMMFC_UNKNOWN"),
    (12, 1, "OFPMMFC_METER_EXISTS"),
    (12, 2, "OFPMMFC_INVALID_METER"),
    (12, 3, "OFPMMFC_UNKNOWN_METER"),
    (12, 5, "OFPMMFC_BAD_FLAGS"),
    (12, 6, "OFPMMFC_BAD_RATE"),
    (12, 7, "OFPMMFC_BAD_BURST"),
    (12, 8, "OFPMMFC_BAD_BAND"),
    (12, 10, "OFPMMFC_OUT_OF_METERS"),
    (12, 11, "OFPMMFC_OUT_OF_BANDS"),
    (17, 0, "OFPBFC_UNKNOWN"),
    (17, 1, "OFPBFC_EPERM"),
    (17, 2, "OFPBFC_BAD_ID"),
    (17, 3, "OFPBFC_BUNDLE_EXIST"),
    (17, 4, "OFPBFC_BUNDLE_CLOSED"),
    (17, 5, "OFPBFC_OUT_OF_BUNDLES"),
    (17, 6, "OFPBFC_BAD_TYPE"),
    (17, 7, "OFPBFC_BAD_FLAGS"),
    (17, 8, "OFPBFC_MSG_BAD_LEN"),
    (17, 9, "OFPBFC_MSG_BAD_XID"),
    (17, 10, "OFPBFC_MSG_UNSUP"),
    (17, 11, "OFPBFC_MSG_CONFLICT"),
    (17, 12, "OFPBFC_MSG_TOO_MANY"),
    (17, 13, "OFPBFC_MSG_FAILED"),
    (17, 14, "OFPBFC_TIMEOUT"),
];

/// Open vSwitch's own errors; the first number is always 0 here.
const NICIRA_ERRORS: &[(u16, u16, &str)] = &[
    (0, 2, "NXBRC_NXM_INVALID"),
    (0, 3, "NXBRC_NXM_BAD_TYPE"),
    (0, 4, "NXBRC_MUST_BE_ZERO"),
    (0, 5, "NXBRC_BAD_REASON"),
    (0, 9, "NXFMFC_HARDWARE"),
    (0, 10, "NXFMFC_BAD_TABLE_ID"),
    (0, 16, "NXTTMFC_BAD_COMMAND"),
    (0, 17, "NXTTMFC_BAD_OPT_LEN"),
    (0, 18, "NXTTMFC_BAD_FIELD_IDX"),
    (0, 19, "NXTTMFC_TABLE_FULL"),
    (0, 20, "NXTTMFC_ALREADY_MAPPED"),
    (0, 21, "NXTTMFC_DUP_ENTRY"),
    (0, 37, "NXR_NOT_SUPPORTED"),
    (0, 38, "NXR_STALE"),
    (0, 39, "NXST_NOT_CONFIGURED"),
    (0, 40, "NXFMFC_INVALID_TLV_FIELD"),
    (0, 41, "NXTTMFC_INVALID_TLV_DEL"),
];

#[cfg(test)]
mod tests {
    use super::text;

    #[test]
    fn a_name_of_other_bytes_stays_as_long_as_it_is() {
        assert_eq!(text(b"eth0\0junk"), "eth0");
        assert_eq!(text(&[0xff, b'j', 0xc3, 0xa4, 0xe2, 0x82]), "?j\u{e4}??");
    }
}
