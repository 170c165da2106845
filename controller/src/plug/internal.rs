//! `internal`: a device that Open vSwitch makes, for programs of the host itself (an agent, a probe, a test).
//!
//! `vif-plug:internal:name` is the device's name; without it, one made of the port's.

use weft_ovsdb::model::{Map, Str};

use super::{Plan, Refusal, Request, VifPlug};
use crate::index::Indexes;

/// The longest name of a device of Linux.
const LONGEST: usize = 15;

/// The provider.
#[derive(Debug)]
pub(super) struct Internal;

impl VifPlug for Internal {
    fn name(&self) -> &'static str {
        "internal"
    }

    fn prepare(&mut self, request: &Request) -> Result<Plan, Refusal> {
        let name = match request.options.nonempty("name") {
            Some(name) if is_name(name) => name.clone(),
            Some(_) => {
                let option = "internal:name".to_owned();
                return Err(Refusal::Option(option, "not the name of a device"));
            }
            None if is_name(&request.logical_port) => request.logical_port.clone(),
            None => made_of(&request.logical_port),
        };
        Ok(Plan {
            name,
            kind: "internal".into(),
            options: Map::default(),
        })
    }
}

fn is_name(text: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && c != '/' && c != ':';
    (1..=LONGEST).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('.')
}

/// A name for a port whose own is too long.
fn made_of(port: &str) -> Str {
    format!("vif{:012x}", Indexes::hash(port) >> 16).into()
}

#[cfg(test)]
mod tests {
    use weft_ovsdb::model::Uuid;

    use super::*;

    #[test]
    fn names_are_those_of_devices() {
        let name = |port: &str, name: Option<&str>| {
            let request = Request {
                port: Uuid(1),
                logical_port: port.into(),
                version: None,
                provider: "internal".into(),
                options: name
                    .map(|n| ("name".into(), n.into()))
                    .into_iter()
                    .collect(),
                mtu: None,
                bridge: "br-int".into(),
            };
            Internal.prepare(&request).map(|plan| plan.name.to_string())
        };
        assert_eq!(name("p1", None), Ok("p1".into()));
        assert_eq!(name("p1", Some("tap0")), Ok("tap0".into()));
        assert!(name("p1", Some("a/b")).is_err());
        assert!(name("p1", Some("sixteen-letters-")).is_err());
        let made = name("8b7b9a0c-3f0e-4b7a-9e6b-0d3a0f5f7c11", None).unwrap();
        assert!(is_name(&made), "{made}");
        assert_ne!(Ok(made), name("8b7b9a0c-3f0e-4b7a-9e6b-0d3a0f5f7c12", None));
    }
}
