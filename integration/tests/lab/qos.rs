//! Quality of service: marks, rate limits, egress queues.

use weft_integration::lab::CONVERGE;
use weft_integration::programs::Impl;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Two VMs on two hosts.
fn network(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("ls-add s");
    for n in 1..=2 {
        lab.nb(&format!(
            "lsp-add s p{n}
             lsp-set-addresses p{n} '0a:00:00:00:00:0{n} 10.0.0.{n} fd00::{n}'"
        ));
        let config = format!("0a:00:00:00:00:0{n} 10.0.0.{n}/24 fd00::{n}/64");
        lab.vm(&format!("h{n}"), &format!("p{n}"), &config);
    }
    lab.ready();
    lab.reaches("p1", "10.0.0.2");
    lab.reaches("p1", "fd00::2");
    lab
}

/// Waits until p2 gets an echo request from p1 with this TOS byte (as tcpdump writes it).
fn arrives_with(lab: &Lab, to: &str, wanted: &str) {
    let capture = lab.capture("p2", "p2", "icmp or icmp6");
    lab.ping("p1", to, 3, "");
    capture.wait_for(&format!("an echo request with {wanted}"), |packet| {
        (packet.contains("echo request") && packet.contains(wanted)).then_some(())
    });
}

pub fn dscp_in_both_directions(impls: Impls) {
    let lab = network(impls);
    arrives_with(&lab, "10.0.0.2", "tos 0x0,");
    lab.nb("qos-add s from-lport 100 'inport == \"p1\" && ip4' dscp=10
         qos-add s from-lport 50 'inport == \"p1\" && ip4' dscp=63
         qos-add s to-lport 100 'outport == \"p2\" && ip6' dscp=46");
    lab.ready();
    arrives_with(&lab, "10.0.0.2", "tos 0x28,");
    arrives_with(&lab, "fd00::2", "class 0xb8,");
    // Who has the last word: the direction that comes later.
    lab.nb("qos-add s to-lport 100 'outport == \"p2\" && ip4' dscp=1");
    lab.ready();
    arrives_with(&lab, "10.0.0.2", "tos 0x4,");
    lab.nb("qos-del s");
    lab.ready();
    arrives_with(&lab, "10.0.0.2", "tos 0x0,");
}

/// How many of 100 pings of a thousand bytes, a hundred per second, are answered.
fn answered(lab: &Lab) -> u32 {
    let ping = lab.ping("p1", "10.0.0.2", 100, "-i 0.01 -s 1000 -W 1");
    ping.sent - ping.lost()
}

pub fn rates_are_limited(impls: Impls) {
    let lab = network(impls);
    assert!(answered(&lab) > 90);
    for direction in ["from-lport", "to-lport"] {
        let port = if direction == "from-lport" {
            "inport"
        } else {
            "outport"
        };
        // 800 kbit/s are sent.
        lab.nb(&format!(
            "qos-add s {direction} 100 '{port} == \"p1\" && icmp4' rate=100 burst=50"
        ));
        lab.ready();
        let few = answered(&lab);
        assert!(
            (1..60).contains(&few),
            "{direction}: {few} of 100 were answered"
        );
        let meters = lab
            .run("h1", "ovs-ofctl -O OpenFlow15 dump-meters br-int")
            .ok();
        assert!(meters.contains("rate=100 burst_size=50"), "{meters}");
        // Others have nothing to do with it.
        lab.reaches("p1", "fd00::2");
        lab.nb(&format!("qos-del s {direction}"));
        lab.ready();
        assert!(answered(&lab) > 90, "{direction}");
        wait_for(CONVERGE, "no meter", || {
            let meters = lab
                .run("h1", "ovs-ofctl -O OpenFlow15 dump-meters br-int")
                .ok();
            ensure(!meters.contains("rate=100"), meters)
        });
    }
}

/// The marks of packets are for who looks at them outside of OVN: seen where a flow of br-int sets them.
pub fn packets_are_marked(impls: Impls) {
    let lab = network(impls);
    lab.nb(
        "--id=@q create QoS priority=7 direction=to-lport match=ip4 action:dscp=5 action:mark=77
            add logical_switch s qos_rules @q",
    );
    lab.ready();
    arrives_with(&lab, "10.0.0.2", "tos 0x14,");
    wait_for(CONVERGE, "packets marked", || {
        let flows = lab
            .run("h2", "ovs-ofctl -O OpenFlow15 dump-flows br-int")
            .ok();
        let marking = flows
            .lines()
            .any(|flow| flow.contains("0x4d->pkt_mark") && !flow.contains("n_packets=0,"));
        ensure(marking, flows)
    });
}

/// A rule nobody can use costs itself only.
pub fn bad_rules(impls: Impls) {
    let lab = network(impls);
    lab.nb("qos-add s from-lport 100 'inport == \"p1\" && ip4' dscp=10
         --id=@a create QoS priority=200 direction=from-lport match='\"ip4 &&\"' action:dscp=1
         --id=@b create QoS priority=201 direction=from-lport match=ip4 bandwidth:burst=9
         --id=@c create QoS priority=202 direction=from-lport match=ip4 action:dscp=70
         add logical_switch s qos_rules @a @b @c");
    lab.ready();
    arrives_with(&lab, "10.0.0.2", "tos 0x28,");
    let list = lab.northd_appctl("diagnostics").ok();
    for words in [
        ["QoS from-lport 200", "match", "ip4 &&"],
        ["QoS from-lport 201", "bandwidth:burst", "9"],
        ["QoS from-lport 202", "action:dscp", "70"],
    ] {
        let told = |line: &str| words.iter().all(|word| line.contains(word));
        assert!(list.lines().any(told), "{words:?} in\n{list}");
    }
}

/// The number of the queue that br-int gives to what p1 sends.
fn queue_of_p1(lab: &Lab) -> String {
    wait_for(CONVERGE, "p1 with a queue", || {
        let options = lab.sb_get("Port_Binding", "options", "logical_port=p1");
        let queue = options
            .split_whitespace()
            .find_map(|option| option.strip_prefix("qdisc_queue_id="))
            .ok_or_else(|| options.clone())?;
        let flows = lab.flows("h1", "table=8");
        ensure(flows.contains(&format!("set_queue:{queue},")), flows)?;
        Ok(queue.to_string())
    })
}

pub fn ports_have_queues(impls: Impls) {
    let lab = network(impls);
    lab.nb("lsp-set-options p1 qos_max_rate=3000000 qos_burst=100000");
    lab.ready();
    let queue = queue_of_p1(&lab);
    lab.reaches("p1", "10.0.0.2");
    if lab.impls().controller == Impl::Stock {
        // 23.03 writes no rows; it talks to the kernel itself.
        return;
    }
    lab.vs(
        "h1",
        "set interface eth1 external-ids:ovn-egress-iface=true",
    );
    let seen = |lab: &Lab| {
        let queues = lab.vs("h1", "--bare --columns=other_config list queue");
        let classes = lab.run("h1", "tc class show dev eth1").ok();
        (queues, classes)
    };
    wait_for(CONVERGE, "a queue of eth1", || {
        let (queues, classes) = seen(&lab);
        let id = queue.parse::<u32>().map_err(|why| why.to_string())? + 1;
        // Open vSwitch counts classes from 1.
        let class = format!("class htb 1:{id:x} ");
        ensure(
            queues.contains("max-rate=3000000")
                && queues.contains("burst=100000")
                && classes.contains(&class)
                && classes.contains("ceil 3Mbit"),
            format!("{queues}\n{classes}"),
        )
    });
    lab.reaches("p1", "10.0.0.2");
    lab.nb("lsp-set-options p1 qos_max_rate=5000000");
    wait_for(CONVERGE, "the new rate", || {
        let (queues, classes) = seen(&lab);
        ensure(
            queues == "max-rate=5000000" && classes.contains("ceil 5Mbit"),
            format!("{queues}\n{classes}"),
        )
    });
    lab.nb("lsp-set-options p1");
    wait_for(CONVERGE, "nothing shaped", || {
        let qos = lab.vs("h1", "--bare --columns=_uuid list qos");
        let queues = lab.vs("h1", "--bare --columns=_uuid list queue");
        ensure(
            qos.is_empty() && queues.is_empty(),
            format!("{qos} {queues}"),
        )
    });
    lab.reaches("p1", "10.0.0.2");
}

/// By a localnet port, the queue is on the physical interface of its bridge and on no other.
pub fn queues_of_a_physical_network(impls: Impls) {
    let lab = network(impls);
    lab.mapped_bridge("h1", "br-ext", "physnet");
    lab.vs(
        "h1",
        "add-port br-ext uplink
         set interface uplink type=internal external-ids:ovn-egress-iface=true
         set interface eth1 external-ids:ovn-egress-iface=true",
    );
    lab.nb("lsp-add s ln
         lsp-set-type ln localnet
         lsp-set-addresses ln unknown
         lsp-set-options ln network_name=physnet
         lsp-set-options p1 qos_min_rate=1000000 qos_max_rate=4000000");
    lab.ready();
    wait_for(CONVERGE, "a queue of the uplink only", || {
        let shaped = |port: &str| lab.vs("h1", &format!("--bare get port {port} qos"));
        let (uplink, eth1) = (shaped("uplink"), shaped("eth1"));
        let queues = lab.vs("h1", "--bare --columns=other_config list queue");
        ensure(
            uplink != "[]" && eth1 == "[]" && queues == "max-rate=4000000 min-rate=1000000",
            format!("uplink {uplink}, eth1 {eth1}, queues {queues}"),
        )
    });
    // Somebody else's settings stay.
    lab.nb("lsp-set-options p1");
    wait_for(CONVERGE, "nothing shaped", || {
        let qos = lab.vs("h1", "--bare --columns=_uuid list qos");
        ensure(qos.is_empty(), qos)
    });
    lab.vs(
        "h1",
        "--id=@q create qos type=linux-noop\n set port uplink qos=@q",
    );
    lab.nb("lsp-set-options p1 qos_max_rate=4000000");
    lab.ready();
    wait_for(CONVERGE, "a diagnostic about the uplink", || {
        let list = lab.controller_appctl("h1", "diagnostics").result()?;
        ensure(list.contains("p1") && list.contains("uplink"), list)
    });
    let kinds = lab.vs("h1", "--bare --columns=type list qos");
    assert_eq!(kinds, "linux-noop");
}
