//! A Kubernetes network in which each node's switch hangs on a gateway port of the cluster's router that is bound to the node:
//! a host needs nothing of what is behind the ports of others.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::lb::{serve, until};

/// `pod{n}` on the switch `node{n}`, whose host is h{n}; a service with one backend on each.
fn cluster(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 3);
    lab.nb("lr-add cluster
            lb-add svc1 10.96.0.1:80 10.128.1.5:8080 tcp
            lb-add svc2 10.96.0.2:80 10.128.2.5:8080 tcp");
    for n in 1..=3 {
        lab.nb(&format!(
            "ls-add node{n}
             lrp-add cluster rtos-node{n} 0a:58:0a:80:0{n}:01 10.128.{n}.1/24 fd0{n}::1/64
             lrp-set-gateway-chassis rtos-node{n} h{n}
             lsp-add node{n} stor-node{n}
             lsp-set-type stor-node{n} router
             lsp-set-addresses stor-node{n} router
             lsp-set-options stor-node{n} router-port=rtos-node{n}
             lsp-add node{n} pod{n}
             lsp-set-addresses pod{n} '0a:58:0a:80:0{n}:05 10.128.{n}.5 fd0{n}::5'
             ls-lb-add node{n} svc1
             ls-lb-add node{n} svc2"
        ));
        pod(&lab, &format!("h{n}"), n);
    }
    lab.ready();
    lab
}

fn pod(lab: &Lab, host: &str, n: u32) {
    let config =
        format!("0a:58:0a:80:0{n}:05 10.128.{n}.5/24 fd0{n}::5/64 via 10.128.{n}.1 fd0{n}::1");
    lab.vm(host, &format!("pod{n}"), &config);
}

/// The host has flows of these switches of `among`, not of the others.
#[track_caller]
pub fn knows(lab: &Lab, host: &str, among: &[&str], wanted: &[&str]) {
    let key = |name: &&str| {
        let switch = format!("external_ids:name={name}");
        lab.sb_get("Datapath_Binding", "tunnel_key", &switch)
    };
    let keys: Vec<String> = among.iter().map(key).collect();
    wait_for(CONVERGE, &format!("the switches of {host}"), || {
        let has_flows = |key: &str| {
            let flows = lab.flows(host, &format!("table=8,metadata={key}"));
            flows.contains("metadata=")
        };
        let known = among.iter().zip(&keys).filter(|(_, key)| has_flows(key));
        let known: Vec<&str> = known.map(|(name, _)| *name).collect();
        ensure(known == wanted, format!("{known:?}, expected {wanted:?}"))
    });
}

const NODES: [&str; 3] = ["node1", "node2", "node3"];

pub fn nodes_behind_their_gateway_ports(impls: Impls) {
    let lab = cluster(impls);
    for (host, node) in ["h1", "h2", "h3"].iter().zip(NODES) {
        knows(&lab, host, &NODES, &[node]);
    }
    lab.reaches_with_ttl("pod1", "10.128.2.5", 63);
    lab.reaches_with_ttl("pod2", "fd03::5", 63);
    lab.reaches_with_ttl("pod3", "10.128.1.5", 63);
    lab.reaches("pod3", "10.128.2.1");
    let _servers = [1, 2].map(|n| {
        let (vm, at) = (format!("pod{n}"), format!("10.128.{n}.5:8080"));
        serve(&lab, &vm, "tcp", &at)
    });
    for (client, service, backend) in [
        ("pod3", "10.96.0.1:80", "pod1"),
        ("pod1", "10.96.0.2:80", "pod2"),
        ("pod2", "10.96.0.2:80", "pod2"),
    ] {
        until(&lab, client, "tcp", service, |answer| {
            answer.starts_with(backend)
        });
    }

    // A port of the switch of another host needs the switch where it is.
    lab.nb("lsp-add node2 guest
            lsp-set-addresses guest '0a:58:0a:80:02:09 10.128.2.9'");
    lab.vm("h1", "guest", "0a:58:0a:80:02:09 10.128.2.9/24");
    lab.ready();
    knows(&lab, "h1", &NODES, &["node1", "node2"]);
    lab.reaches_with_ttl("guest", "10.128.2.5", 64);
    lab.reaches_with_ttl("pod1", "10.128.2.5", 63);
    lab.unplug("guest");
    lab.nb("lsp-del guest");
    lab.ready();

    // The node gets another host.
    lab.unplug("pod2");
    lab.nb("lrp-set-gateway-chassis rtos-node2 h3 20");
    pod(&lab, "h3", 2);
    lab.ready();
    lab.nb("lrp-del-gateway-chassis rtos-node2 h2");
    lab.ready();
    knows(&lab, "h1", &NODES, &["node1"]);
    knows(&lab, "h3", &NODES, &["node2", "node3"]);
    lab.reaches_with_ttl("pod1", "10.128.2.5", 63);
    lab.reaches_with_ttl("pod2", "fd01::5", 63);
    lab.reaches_with_ttl("pod3", "10.128.2.5", 63);
}
