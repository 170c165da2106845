//! Every action in every form: parsed, written and parsed again; errors with position and suggestion.
#![allow(missing_docs, clippy::unwrap_used)]

use weft_lang::{Actions, parse_actions, parse_match};

/// Actions in their canonical text that OVN 23.03 knows.
pub const STOCK: &[&str] = &[
    "output;",
    "next;",
    "next(7);",
    "next(pipeline=egress,table=3);",
    "outport = \"p1\"; output;",
    "flags.loopback = 1;",
    "reg0 = 10.0.0.1; xxreg0 = fd00::1; reg1 = ip4.src;",
    "vlan.pcp = 4/4;",
    "eth.dst[40] = 1;",
    "vlan.pcp = reg0[0..2];",
    "eth.src <-> eth.dst; ip4.src <-> ip4.dst;",
    "push(xxreg0); pop(xxreg0);",
    "ip.ttl--;",
    "ct_next;",
    "ct_commit { };",
    "ct_commit { ct_mark.blocked = 0; ct_label.label = reg3; };",
    "ct_commit { ct_mark = 1/1; ct_label = 0x1/0x1; };",
    "ct_commit(ct_mark=1, ct_label=2);",
    "ct_commit_nat;",
    "ct_dnat;",
    "ct_dnat(10.0.0.1);",
    "ct_dnat(fd00::1, 80-90);",
    "ct_snat(10.0.0.1, 1-3000);",
    "ct_dnat_in_czone(10.0.0.1, 80);",
    "ct_snat_in_czone(10.0.0.1);",
    "ct_snat_in_czone;",
    "ct_clear;",
    "ct_lb;",
    "ct_lb_mark;",
    "ct_lb(backends=10.0.0.1:80,10.0.0.2:80);",
    "ct_lb_mark(backends=[fd00::1]:80,[fd00::2]:80; hash_fields=\"ip_src,ip_dst\"; skip_snat);",
    "ct_lb_mark(backends=10.0.0.1:80; force_snat);",
    "ct_snat_to_vip;",
    "clone { ct_clear; outport = \"p1\"; output; };",
    "arp { eth.dst = ff:ff:ff:ff:ff:ff; arp.spa = reg1; arp.op = 1; output; };",
    "nd_ns { nd.target = xxreg0; output; };",
    "nd_na { eth.src = 00:00:00:00:00:01; nd.tll = 00:00:00:00:00:01; outport = inport; output; };",
    "nd_na_router { output; };",
    "icmp4 { icmp4.type = 3; icmp4.code = 4; next; };",
    "icmp4_error { icmp4.frag_mtu = 1500; };",
    "icmp6 { icmp6.type = 1; next; };",
    "icmp6_error { icmp6.frag_mtu = 1500; };",
    "tcp_reset { outport <-> inport; output; };",
    "sctp_abort { output; };",
    "reject { outport <-> inport; next(pipeline=egress,table=5); };",
    "get_arp(outport, reg0);",
    "put_arp(inport, arp.spa, arp.sha);",
    "reg9[2] = lookup_arp(inport, arp.spa, arp.sha);",
    "reg9[3] = lookup_arp_ip(inport, arp.spa);",
    "get_nd(outport, xxreg0);",
    "put_nd(inport, nd.target, nd.tll);",
    "reg9[2] = lookup_nd(inport, ip6.src, nd.sll);",
    "reg9[3] = lookup_nd_ip(inport, nd.target);",
    "put_fdb(inport, eth.src);",
    "outport = get_fdb(eth.dst);",
    "reg0[11] = lookup_fdb(inport, eth.src);",
    "reg0[3] = put_dhcp_opts(offerip = 10.0.0.2, lease_time = 3600, netmask = 255.255.255.0, dns_server = {8.8.8.8, 7.7.7.7}, domain_name = \"ovn.org\");",
    "reg0[3] = put_dhcpv6_opts(ia_addr = aef0::4, server_id = 00:00:00:00:10:02, dns_server = {ae70::1, ae70::2});",
    "reg0[3] = put_nd_ra_opts(addr_mode = \"slaac\", slla = 00:00:00:00:10:02, prefix = aef0::/64, mtu = 1450);",
    "reg0[4] = dns_lookup();",
    "reg9[1] = check_pkt_larger(1500);",
    "set_queue(10);",
    "set_meter(100); set_meter(100, 1000);",
    "log(name=\"acl\", verdict=allow, severity=info, meter=\"m\");",
    "fwd_group(liveness=\"true\", childports=\"p1\", \"p2\");",
    "fwd_group(childports=\"p1\", \"p2\");",
    "trigger_event(event = \"empty_lb_backends\", vip = \"10.0.0.1:80\", protocol = \"tcp\", load_balancer = \"12345678-abcd-9876-fedc-11119f8e7d6c\");",
    "igmp;",
    "bind_vport(\"p1\", inport);",
    "handle_svc_check(inport);",
    "handle_dhcpv6_reply;",
    "handle_bfd_msg();",
    "reg8[16..31] = select(1=20, 2=30, 3);",
    "reg0[6] = chk_lb_hairpin(); reg0[12] = chk_lb_hairpin_reply();",
    "reg0[15] = check_in_port_sec();",
    "reg0[15] = check_out_port_sec();",
    "commit_ecmp_nh(ipv6 = false, proto = tcp);",
    "reg9[5] = chk_ecmp_nh(); reg9[5] = chk_ecmp_nh_mac();",
    "reg9[6] = chk_lb_aff();",
    "commit_lb_aff(vip = \"172.16.0.123:8080\", backend = \"10.0.0.3:80\", proto = tcp, timeout = 30);",
    "commit_lb_aff(vip = \"[::1]:8080\", backend = \"[::2]:80\", proto = udp, timeout = 30);",
    "commit_lb_aff(vip = \"172.16.0.123\", backend = \"10.0.0.3\", timeout = 30);",
    "sample(probability=100,collector_set=200,obs_domain=0,obs_point=1000);",
    "sample(probability=100,collector_set=200,obs_domain=0,obs_point=$cookie);",
];

/// Actions of other versions.
const OTHER: &[&str] = &[
    "trigger_event(event = \"empty_lb_backends\", meter = \"event-elb\", vip = \"10.0.0.1:80\", protocol = \"tcp\");",
    "ct_next(dnat);",
    "ct_commit_nat(snat);",
    "ct_commit_to_zone(dnat);",
    "ct_lb_mark_local(backends=\"a\":10.0.0.1:80,\"b\":[fd00::1]:80; hash_fields=\"ip_src\"; skip_snat);",
    "sample(probability=100,collector_set=200,obs_domain=0,obs_point=reg9);",
    "mac_cache_use;",
    "flood_remote;",
    "mirror(\"p1\");",
    "reg9[7] = dhcp_relay_req_chk(192.168.1.1, 172.16.1.1);",
    "reg9[8] = dhcp_relay_resp_chk(192.168.1.1, 172.16.1.1);",
    "reg4 = ct_nw_dst(); xxreg1 = ct_ip6_dst(); reg8[0..15] = ct_tp_dst();",
    "reg8[0..7] = ct_state_save();",
    "outport = get_remote_fdb(eth.dst);",
    "reg8[16..31] = select(values=(1=20, 2=30); hash_fields=\"ip_src\");",
    "log();",
];

#[test]
fn canonical_text_round_trips() {
    for text in STOCK.iter().chain(OTHER) {
        let actions = parse_actions(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(Actions(&actions).to_string(), *text);
    }
    assert_eq!(Actions(&[]).to_string(), "drop;");
}

#[test]
fn other_forms_are_understood() {
    for (text, canonical) in [
        ("ct_commit;", "ct_commit { };"),
        (
            "fwd_group(liveness=true,childports=\"a\");",
            "fwd_group(liveness=\"true\", childports=\"a\");",
        ),
        ("next(table=4);", "next(4);"),
        ("ct_lb(10.0.0.1);", "ct_lb(backends=10.0.0.1);"),
        ("ct_lb_mark();", "ct_lb_mark;"),
        ("  next ; // comment", "next;"),
        ("set_queue(/* five */5);", "set_queue(5);"),
    ] {
        let actions = parse_actions(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(Actions(&actions).to_string(), canonical);
    }
}

#[test]
fn errors_say_where_and_what() {
    for (text, wanted) in [
        (
            "outprot = \"a\";",
            "unknown field `outprot' at column 1 (did you mean `outport'?)",
        ),
        (
            "nxet;",
            "unknown action `nxet' at column 1 (did you mean `next'?)",
        ),
        (
            "next",
            "syntax error at end of input, expecting `;' at column 5",
        ),
        (
            "eth.type = 3;",
            "field eth.type is not modifiable at column 1",
        ),
        (
            "reg0 = xxreg0;",
            "cannot copy between 32-bit reg0 and 128-bit xxreg0 at column 1",
        ),
        (
            "get_arp(inport, eth.src);",
            "get_arp needs a 32-bit field, but eth.src has 48 at column 17",
        ),
        (
            "reg0 = lookup_arp_ip(inport, reg1);",
            "lookup_arp_ip needs a 1-bit field, but reg0 has 32 at column 1",
        ),
        (
            "ct_commit { reg0 = 1; };",
            "ct_commit may only assign ct_mark and ct_label at column 11",
        ),
        (
            "log(severity=inf);",
            "severity must be one of alert, warning, notice, info, debug at column 14 (did you mean `info'?)",
        ),
    ] {
        assert_eq!(
            parse_actions(text).unwrap_err().to_string(),
            wanted,
            "{text}"
        );
    }
    for (text, wanted) in [
        (
            "ip4.scr == 1.2.3.4",
            "unknown field `ip4.scr' at column 1 (did you mean `ip4.src'?)",
        ),
        (
            "ip4 && tcp.dst == 65536",
            "constant 65536 does not fit into the 16 bits of tcp.dst at column 8",
        ),
        (
            "ip4 && tcp || udp",
            "&& and || must be parenthesized when used together at column 12",
        ),
        (
            "!ip4",
            "nominal predicate ip4 may only be tested positively at column 2",
        ),
        (
            "inport != \"a\"",
            "nominal field inport may only be tested for equality at column 1",
        ),
        (
            "!tcp.dst == 3",
            "missing parentheses around the operand of ! at column 1",
        ),
        (
            "tcp.dst",
            "tcp.dst is not a one-bit field and must be compared with a constant at column 1",
        ),
        ("ip4.src == 10.0.0", "not an IPv4 address at column 12"),
        (
            "ip4.src == 10.0.0.1/33",
            "prefix length must be at most 32 at column 21",
        ),
        ("inport == \"a", "string without closing quote at column 11"),
        (
            "ip4.src == ",
            "syntax error at end of input, expecting a constant at column 12",
        ),
    ] {
        assert_eq!(parse_match(text).unwrap_err().to_string(), wanted, "{text}");
    }
    let deep = "(".repeat(10_000) + "ip4";
    assert!(
        parse_match(&deep)
            .unwrap_err()
            .message
            .contains("too deeply")
    );
    let deep = "!".repeat(10_000) + "ip4";
    assert!(
        parse_match(&deep)
            .unwrap_err()
            .message
            .contains("too deeply")
    );
    let deep = "clone { ".repeat(10_000);
    assert!(
        parse_actions(&deep)
            .unwrap_err()
            .message
            .contains("too deeply")
    );
}
