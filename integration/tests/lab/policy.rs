//! Routing policies. Next hops are VMs that only listen: which of them got the packet tells what was decided.

use weft_integration::capture::Capture;
use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

use crate::routing::routed;

/// `a1` is on one side, `t1` and `t2` are possible next hops on the other.
fn bed(impls: Impls, hosts: usize) -> (Lab, [Capture; 2]) {
    let lab = routed(impls, hosts, &["a", "t"]);
    lab.nb("lsp-add t t2
            lsp-set-addresses t2 '0a:00:00:00:02:02 10.2.0.2 fd02::2'
            lr-route-add r 0.0.0.0/0 10.2.0.1
            lr-route-add r ::/0 fd02::1");
    lab.vm(
        &format!("h{hosts}"),
        "t2",
        "0a:00:00:00:02:02 10.2.0.2/24 fd02::2/64 via 10.2.0.254 fd02::254",
    );
    lab.ready();
    for to in ["10.2.0.1", "10.2.0.2", "fd02::1", "fd02::2"] {
        lab.reaches("a1", to);
    }
    let captures = ["t1", "t2"].map(|vm| lab.capture(vm, vm, "icmp or icmp6 or udp"));
    (lab, captures)
}

/// Who gets what `a1` sends to an address: first and second next hop, or nobody.
fn goes(lab: &Lab, captures: &[Capture; 2], to: &str, taken: [bool; 2]) {
    let seen = || {
        let to = format!("> {to}:");
        [0, 1].map(|n| {
            captures[n]
                .packets()
                .iter()
                .any(|packet| packet.contains(&to))
        })
    };
    if taken == [false, false] {
        lab.ping("a1", to, 2, "");
        assert_eq!(seen(), taken, "a1 -> {to}");
    } else {
        wait_for(CONVERGE, &format!("a1 -> {to} at {taken:?}"), || {
            lab.ping("a1", to, 1, "");
            ensure(seen() == taken, format!("{:?}", seen()))
        });
    }
}

pub fn policies_go_before_routes(impls: Impls) {
    let (lab, captures) = bed(impls, 2);
    lab.nb(
        "--wait=hv lr-policy-add r 100 'ip4.dst == 172.16.0.0/16' drop
            lr-policy-add r 200 'ip4.dst == 172.16.1.0/24' allow
            lr-policy-add r 300 'ip4.dst == 172.16.2.0/24' reroute 10.2.0.2
            lr-policy-add r 400 'ip4.dst == 172.16.3.0/24 && inport == \"r-t\"' reroute 10.2.0.2
            lr-policy-add r 500 'ip6.dst == fd99::/64' reroute fd02::2
            lr-policy-add r 600 'ip6.dst == fd98::/64' drop
            lr-policy-add r 700 'ip4.dst == 172.17.0.0/16' reroute 10.77.0.1",
    );
    for (to, taken) in [
        ("172.16.9.1", [false, false]),
        ("172.16.1.1", [true, false]),
        ("172.16.2.1", [false, true]),
        ("172.16.3.1", [false, false]),
        ("fd99::1", [false, true]),
        ("fd98::1", [false, false]),
        ("fd97::1", [true, false]),
        // A next hop on no network of the router: the policy is left out.
        ("172.17.0.1", [true, false]),
    ] {
        goes(&lab, &captures, to, taken);
    }
    let packet = r#"inport == "a1" && eth.src == 0a:00:00:00:01:01 && eth.dst == 0a:00:00:00:ff:01 && ip4.src == 10.1.0.1 && ip4.dst == 172.16.2.9 && ip.ttl == 64 && icmp4.type == 8"#;
    let trace = lab.trace("--minimal", "a", packet);
    assert!(
        trace.contains("eth.dst = 0a:00:00:00:02:02") && trace.contains("output(\"t2\")"),
        "{trace}"
    );
    lab.nb("--wait=hv lr-policy-del r 300");
    goes(&lab, &captures, "172.16.2.2", [false, false]);
    lab.nb("--wait=hv lr-policy-del r");
    goes(&lab, &captures, "172.16.2.3", [true, false]);
}

/// On one host: Open vSwitch in user space looks for the route of a tunnel by the mark of the packet.
pub fn a_policy_shares_the_load_and_marks(impls: Impls) {
    let (lab, captures) = bed(impls, 1);
    lab.nb(
        "--wait=hv lr-policy-add r 100 'ip4.dst == 172.16.0.0/16' reroute 10.2.0.1,10.2.0.2 pkt_mark=77
            lr-policy-add r 100 'ip6.dst == fd99::/64' reroute fd02::1,fd02::2",
    );
    for to in ["172.16.0.1", "fd99::1"] {
        let shares = || {
            let to = format!("> {to}.");
            [0, 1].map(|n| {
                let packets = captures[n].packets();
                packets.iter().filter(|packet| packet.contains(&to)).count()
            })
        };
        wait_for(CONVERGE, "both next hops take part", || {
            let send = format!(
                "bash -c 'for n in {{1..100}}; do echo x > /dev/udp/{to}/$((5000+n)); done'"
            );
            lab.vm_run("a1", &send).ok();
            let [one, two] = shares();
            ensure(one > 20 && two > 20, format!("{one} and {two}"))
        });
    }
    let marking = lab.flows("h1", "");
    assert!(marking.to_lowercase().contains("pkt_mark"), "{marking}");
    // With one of them gone the other takes all.
    lab.nb("--wait=hv lr-policy-del r
            lr-policy-add r 100 'ip4.dst == 172.16.0.0/16' reroute 10.2.0.2");
    goes(&lab, &captures, "172.16.5.5", [false, true]);
}

/// Newer than 23.03: stock northd does not know chains.
pub fn chains_of_policies(impls: Impls) {
    let (lab, captures) = bed(impls, 2);
    lab.nb("--wait=hv sync
            --id=@j create logical_router_policy priority=100 'match=\"ip4.dst == 172.16.0.0/12\"' action=jump jump_chain=tea -- add logical_router r policies @j
            --id=@d create logical_router_policy priority=10 'match=\"ip4.dst == 172.16.1.0/24\"' action=drop chain=tea -- add logical_router r policies @d
            --id=@t create logical_router_policy priority=20 'match=\"ip4.dst == 172.16.2.0/24\"' action=reroute nexthops=10.2.0.2 chain=tea -- add logical_router r policies @t
            --id=@o create logical_router_policy priority=50 'match=\"ip4.dst == 172.16.3.0/24\"' action=reroute nexthops=10.2.0.2 -- add logical_router r policies @o");
    for (to, taken) in [
        ("172.16.1.1", [false, false]),
        ("172.16.2.1", [false, true]),
        // Nothing in the chain is about it, and a jump does not come back.
        ("172.16.3.1", [true, false]),
        ("192.168.0.1", [true, false]),
    ] {
        goes(&lab, &captures, to, taken);
    }
}
