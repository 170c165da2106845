//! What names in expressions stand for on a chassis.

use crate::constant::{Int, Str};
use crate::field::Field;

/// Resolves names. Implementations that track what was read do so in these calls.
pub trait Env {
    /// Key of the logical port or multicast group of that name in the flow's datapath.
    fn port(&self, name: &str) -> Option<u32>;
    /// Constants of an address set, also of those a port group makes (`$name_ip4`). None if there is no such set.
    fn address_set(&self, name: &str) -> Option<Vec<Int>>;
    /// Keys of the members of a port group that are in the flow's datapath and that `field` can hold. None if there is no
    /// such group.
    fn port_group(&self, field: Field, name: &str) -> Option<Vec<u32>>;
    /// Whether the port resides here.
    fn is_resident(&self, port: &str) -> bool;
}

/// An environment in which no name means anything.
#[derive(Copy, Clone, Debug, Default)]
pub struct NoEnv;

impl Env for NoEnv {
    fn port(&self, _: &str) -> Option<u32> {
        None
    }
    fn address_set(&self, _: &str) -> Option<Vec<Int>> {
        None
    }
    fn port_group(&self, _: Field, _: &str) -> Option<Vec<u32>> {
        None
    }
    fn is_resident(&self, _: &str) -> bool {
        false
    }
}

/// A name that an expression mentions.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Name {
    /// `"port"`
    Port(Str),
    /// `$set`
    AddressSet(Str),
    /// `@group`
    PortGroup(Str),
    /// `is_chassis_resident("port")`
    Residency(Str),
}
