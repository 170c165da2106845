//! Projects of an OpenStack cloud that share a provider network: each router has a gateway port there, each machine an address of
//! its own. A host needs the routers of its own machines only (`only_dgp_peer_ports`).

use weft_integration::{Impls, Lab};

use crate::node_gateways::knows;

const NETS: [&str; 2] = ["net1", "net2"];

/// Machine `vm{n}` of project n on h{n}, outside 172.16.0.10{n}; gateway ports 172.16.0.{n} on h3; `out` is 172.16.0.9.
fn cloud(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 3);
    lab.nb("ls-add public
            lsp-add public provnet
            lsp-set-type provnet localnet
            lsp-set-addresses provnet unknown
            lsp-set-options provnet network_name=physnet");
    for n in 1..=2 {
        lab.nb(&format!(
            "ls-add net{n}
             lr-add r{n}
             lrp-add r{n} r{n}-in fa:16:3e:00:0{n}:01 10.0.{n}.1/24
             lrp-add r{n} r{n}-out fa:16:3e:00:0{n}:02 172.16.0.{n}/24
             lrp-set-gateway-chassis r{n}-out h3
             lsp-add net{n} net{n}-r
             lsp-set-type net{n}-r router
             lsp-set-addresses net{n}-r router
             lsp-set-options net{n}-r router-port=r{n}-in
             lsp-add public public-r{n}
             lsp-set-type public-r{n} router
             lsp-set-addresses public-r{n} router
             lsp-set-options public-r{n} router-port=r{n}-out nat-addresses=router
             lr-nat-add r{n} snat 172.16.0.{n} 10.0.{n}.0/24
             lsp-add net{n} vm{n}
             lsp-set-addresses vm{n} 'fa:16:3e:00:0{n}:11 10.0.{n}.11'
             lsp-add net{n} more{n}
             lsp-set-addresses more{n} 'fa:16:3e:00:0{n}:12 10.0.{n}.12'
             lr-nat-add r{n} dnat_and_snat 172.16.0.10{n} 10.0.{n}.11 vm{n} fa:16:3e:00:0{n}:fe"
        ));
        machine(&lab, &format!("h{n}"), "vm", n, 11);
    }
    let hosts = ["h1", "h2", "h3"];
    lab.outside(&hosts, "physnet", "out", "0a:00:00:00:01:09 172.16.0.9/24");
    lab.ready();
    lab
}

fn machine(lab: &Lab, host: &str, name: &str, n: u32, last: u32) {
    let config = format!("fa:16:3e:00:0{n}:{last} 10.0.{n}.{last}/24 via 10.0.{n}.1");
    lab.vm(host, &format!("{name}{n}"), &config);
}

pub fn projects_on_a_provider_network(impls: Impls) {
    let lab = cloud(impls);
    let of_its_own = |host: &str, nets: &[&str]| {
        // Stock controllers of 23.03 do not look at it, nor does stock northd say it.
        if impls.or_from_env() == Impls::WEFT {
            knows(&lab, host, &NETS, nets);
        }
    };
    of_its_own("h1", &["net1"]);
    of_its_own("h2", &["net2"]);
    of_its_own("h3", &NETS);
    // Each other's addresses, over the physical network, and the gateways on the third host.
    lab.reaches_with_ttl("vm1", "172.16.0.9", 63);
    lab.reaches_with_ttl("out", "172.16.0.102", 63);
    lab.reaches_with_ttl("vm1", "172.16.0.102", 62);
    lab.reaches_with_ttl("vm2", "172.16.0.101", 62);
    lab.reaches("vm1", "172.16.0.2");
    lab.reaches("out", "172.16.0.1");

    // A machine of the second project beside one of the first, with and without an address outside.
    machine(&lab, "h1", "more", 2, 12);
    lab.ready();
    of_its_own("h1", &NETS);
    lab.reaches_with_ttl("more2", "172.16.0.101", 62);
    lab.reaches_with_ttl("more2", "172.16.0.9", 63);
    lab.reaches_with_ttl("more2", "10.0.2.11", 64);
    lab.nb("lr-nat-add r2 dnat_and_snat 172.16.0.112 10.0.2.12 more2 fa:16:3e:00:02:fd");
    lab.ready();
    lab.reaches_with_ttl("vm1", "172.16.0.112", 62);
    lab.reaches_with_ttl("out", "172.16.0.112", 63);
    lab.nb("lr-nat-del r2 dnat_and_snat 172.16.0.112");
    lab.unplug("more2");
    lab.ready();
    of_its_own("h1", &["net1"]);

    // A machine on the provider network itself: all of its neighbours are looked at.
    lab.nb("lsp-add public guest
            lsp-set-addresses guest '0a:00:00:00:01:07 172.16.0.7'");
    lab.vm("h1", "guest", "0a:00:00:00:01:07 172.16.0.7/24");
    lab.ready();
    of_its_own("h1", &NETS);
    lab.reaches_with_ttl("guest", "172.16.0.102", 63);
    lab.reaches("guest", "172.16.0.2");
}
