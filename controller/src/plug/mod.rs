//! Plugging of VIFs by the controller: `vif-plug-type` of a port that `requested-chassis` puts here.
//!
//! Usually whoever runs a machine puts its interface onto the integration bridge. A port can ask the controller to do it
//! instead, with the help of a *provider* that knows how the device is found or made. What the provider is told and what
//! it answers is data ([`Request`], [`Plan`]); the port of Open vSwitch is the controller's to write, like its tunnels:
//! what should be there is put in, what should not be is taken out. A port that somebody else has plugged here is left
//! alone.
//!
//! The unit in this file decides which ports are to be plugged; [`crate::sync::plugs`] asks the providers.
//!
//! A provider of one's own: implement [`VifPlug`], add it to [`providers`]. Its options are those of the port that begin
//! with `vif-plug:` and its name.

mod internal;

use std::fmt::Debug;
use std::sync::Arc;

use weft_engine::{Cx, Kind};
use weft_ovsdb::model::{Map, Str, Uuid};

use crate::binding::{REQUESTED, Role, role};
use crate::bridge::{BRIDGE, IntegrationBridge};
use crate::config::{ME, Me};
use crate::iface::{IFACE, Iface};
use crate::index::Index;
use crate::physical::diagnose;
use crate::program::{Controller, Key, Output, Read};

/// Emits [`Request`]; keyed by port binding.
pub const PLUG: Kind<Controller> =
    Kind::pure("vif-plug", &["me", "bridge", "iface", "binding"], plug);

/// The key of Port.external_ids that marks what the controller has plugged; its value is the logical port.
pub const PLUGGED: &str = "ovn-plugged";
/// The option that names the provider.
pub const TYPE: &str = "vif-plug-type";
/// The option for the MTU.
const MTU: &str = "vif-plug-mtu-request";

/// A port to be plugged.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Request {
    /// The port binding.
    pub port: Uuid,
    /// Its name: the interface's iface-id.
    pub logical_port: Str,
    /// `iface-id-ver`, if the port has one.
    pub version: Option<Str>,
    /// Name of the provider.
    pub provider: Str,
    /// The provider's options, without their prefix.
    pub options: Map<Str, Str>,
    /// The MTU that the interface is to have.
    pub mtu: Option<i64>,
    /// Name of the integration bridge.
    pub bridge: Str,
}

/// How a provider wants an interface to be.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Plan {
    /// Name of the device.
    pub name: Str,
    /// Type of the interface, as Open vSwitch knows it; empty for a device of the system.
    pub kind: Str,
    /// Options of the interface.
    pub options: Map<Str, Str>,
}

/// Why a provider cannot plug a port now. It is asked again after a while.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such provider.
    #[error("vif-plug-type \"{0}\": no such provider")]
    NoProvider(Str),
    /// An option is missing or wrong.
    #[error("vif-plug:{0}: {1}")]
    Option(String, &'static str),
    /// A device that is needed is not there.
    #[error("no such device: {0}")]
    NoDevice(String),
    /// The name is somebody else's.
    #[error("Open vSwitch has another port {0}")]
    Taken(Str),
}

/// A way to plug VIFs. Its functions are called by the task that runs the controller: they must not wait for anything.
pub trait VifPlug: Send + Debug {
    /// The name that ports call it by.
    fn name(&self) -> &'static str;

    /// Finds or makes ready what is to be plugged. Called again after a refusal, and when what is asked for has changed.
    ///
    /// # Errors
    /// When it cannot be done, or not yet.
    fn prepare(&mut self, request: &Request) -> Result<Plan, Refusal>;

    /// The interface is on the bridge.
    fn plugged(&mut self, _request: &Request, _plan: &Plan) {}

    /// The interface is gone from the bridge.
    fn unplugged(&mut self, _request: &Request, _plan: &Plan) {}
}

/// The providers there are.
pub fn providers() -> Vec<Box<dyn VifPlug>> {
    vec![Box::new(internal::Internal)]
}

fn plug(cx: &Cx<'_, Controller>, key: Key) {
    let uuid = key.row();
    let (rec, vs) = (cx.sb_rec(), cx.vs_rec());
    let (Some(me), Some(bridge)) = (
        cx.value::<Me>(ME.id(), Key::Global),
        cx.value::<IntegrationBridge>(BRIDGE.id(), Key::Global),
    ) else {
        return;
    };
    let Some(row) = cx.sb().port_binding.tracked(uuid, &rec) else {
        return;
    };
    let options = row.options();
    let Some(provider) = options.nonempty(TYPE).filter(|_| row.type_().is_empty()) else {
        return;
    };
    let requested = options.nonempty(REQUESTED);
    if requested.is_none() || role(requested, &me) == Role::None {
        return;
    }
    let others = cx
        .lookup(Index::InterfaceById, &**row.logical_port())
        .iter()
        .filter(|iface| cx.value::<Iface>(IFACE.id(), Key::Row(**iface)).is_some())
        .filter_map(|iface| cx.lookup_one(Index::PortOfInterface, iface))
        .filter_map(|port| cx.vs().port.tracked(port, &vs))
        .any(|port| !port.external_ids().contains_key(PLUGGED));
    if others {
        return;
    }
    let mtu = options.nonempty(MTU);
    let number = mtu.and_then(|text| text.parse().ok()).filter(|n| *n > 0);
    if let (Some(text), None) = (mtu, number) {
        let message = format!("{MTU} \"{text}\" is not an MTU: left out");
        diagnose(cx, uuid, "options", message);
    }
    let prefix = format!("vif-plug:{provider}:");
    let own = options
        .iter()
        .filter_map(|(key, value)| Some((Str::from(key.strip_prefix(&*prefix)?), value.clone())));
    cx.emit(Output::Plug(Arc::new(Request {
        port: uuid,
        logical_port: row.logical_port().clone(),
        version: options.nonempty("iface-id-ver").cloned(),
        provider: provider.clone(),
        options: own.collect(),
        mtu: number,
        bridge: bridge.name.clone(),
    })));
}
