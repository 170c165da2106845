//! Rows nobody can compile: the rest of the network goes on, and the diagnostics name the row.

use weft_integration::lab::CONVERGE;
use weft_integration::programs::Impl;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Two VMs on a switch each, joined by a router.
fn network(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 2);
    lab.nb("lr-add r");
    for n in 1..=2 {
        lab.nb(&format!(
            "ls-add s{n}
             lrp-add r r-s{n} 0a:00:00:00:ff:0{n} 10.{n}.0.254/24 fd0{n}::254/64
             lsp-add s{n} s{n}-r
             lsp-set-type s{n}-r router
             lsp-set-options s{n}-r router-port=r-s{n}
             lsp-set-addresses s{n}-r router
             lsp-add s{n} p{n}
             lsp-set-addresses p{n} '0a:00:00:00:0{n}:01 10.{n}.0.1 fd0{n}::1'"
        ));
        let config =
            format!("0a:00:00:00:0{n}:01 10.{n}.0.1/24 fd0{n}::1/64 via 10.{n}.0.254 fd0{n}::254");
        lab.vm(&format!("h{n}"), &format!("p{n}"), &config);
    }
    lab.ready();
    lab.reaches_with_ttl("p1", "10.2.0.1", 63);
    lab
}

/// What is right still works, and goes on following changes.
fn rest_works(lab: &Lab, fresh: usize) {
    lab.nb(&format!(
        "lsp-add s2 q{fresh}
         lsp-set-addresses q{fresh} '0a:00:00:00:02:1{fresh} 10.2.0.1{fresh}'"
    ));
    lab.vm(
        "h2",
        &format!("q{fresh}"),
        &format!("0a:00:00:00:02:1{fresh} 10.2.0.1{fresh}/24 via 10.2.0.254"),
    );
    wait_for(CONVERGE, "a new port up", || {
        let up = lab.nbctl(&format!("lsp-get-up q{fresh}")).result()?;
        ensure(up == "up", up)
    });
    lab.reaches_with_ttl("p1", "10.2.0.1", 63);
    lab.reaches_with_ttl("p1", &format!("10.2.0.1{fresh}"), 63);
}

/// Waits until northd's diagnostics hold all of `words` in one entry. Stock has no such list.
fn told(lab: &Lab, words: &[&str]) {
    if lab.impls().northd == Impl::Stock {
        return;
    }
    wait_for(CONVERGE, &format!("diagnostics with {words:?}"), || {
        let list = lab.northd_appctl("diagnostics").result()?;
        ensure(
            list.lines()
                .any(|line| words.iter().all(|word| line.contains(word))),
            list,
        )
    });
}

/// Waits until no entry has `word` any more.
fn no_longer_told(lab: &Lab, word: &str) {
    if lab.impls().northd == Impl::Stock {
        return;
    }
    wait_for(CONVERGE, &format!("diagnostics without {word}"), || {
        let list = lab.northd_appctl("diagnostics").result()?;
        ensure(!list.contains(word), list)
    });
}

/// A port group generates `pg_ip4`: an address set of that name makes stock northd's transactions fail for ever.
pub fn address_set_named_like_a_generated_one(impls: Impls) {
    let lab = network(impls);
    if lab.impls().northd == Impl::Stock {
        return;
    }
    lab.nb("pg-add pg p1");
    lab.nb("create address_set name=pg_ip4 addresses=9.9.9.9");
    rest_works(&lab, 1);
    told(&lab, &["pg_ip4"]);
    lab.nb("destroy address_set pg_ip4");
    no_longer_told(&lab, "pg_ip4");
    rest_works(&lab, 2);
    let set = lab.sb_get("address_set", "addresses", "name=pg_ip4");
    assert_eq!(set, "10.1.0.1");
}

/// Written past nbctl's checks, as any client can.
pub fn malformed_rows(impls: Impls) {
    let lab = network(impls);
    lab.nb(r#"lsp-add s1 bad-mac
              set logical_switch_port bad-mac 'addresses="0a:00:00:00:zz 10.1.0.66"'
              lsp-add s1 bad-ip
              set logical_switch_port bad-ip 'addresses="0a:00:00:00:01:67 10.1.0.667"'
              lsp-add s1 bad-security
              set logical_switch_port bad-security 'port_security="nonsense"'
              lsp-add s1 dangling
              lsp-set-type dangling router
              lsp-set-addresses dangling router
              lsp-set-options dangling router-port=no-such-port"#);
    lab.nb(r#"--id=@bad create logical_router_port name=bad-network 'mac="0a:00:00:00:ff:77"' 'networks="10.300.0.0/24"'
              add logical_router r ports @bad
              --id=@route create logical_router_static_route 'ip_prefix="1.2.3.4/77"' nexthop=10.2.0.1
              add logical_router r static_routes @route"#);
    rest_works(&lab, 1);
    for row in [
        "bad-mac",
        "bad-ip",
        "bad-security",
        "dangling",
        "bad-network",
    ] {
        told(&lab, &[row]);
    }
    told(&lab, &["1.2.3.4/77"]);
    lab.nb("lsp-del bad-mac
            lsp-del bad-ip
            lsp-del dangling");
    no_longer_told(&lab, "bad-mac");
    no_longer_told(&lab, "dangling");
    rest_works(&lab, 2);
}

pub fn duplicate_addresses(impls: Impls) {
    let lab = network(impls);
    lab.nb(r#"lsp-add s1 single
              lsp-set-addresses single '0a:00:00:00:01:50 10.1.0.50'
              lsp-add s1 double
              set logical_switch_port double 'addresses="0a:00:00:00:01:51 10.1.0.50"'"#);
    rest_works(&lab, 1);
    told(&lab, &["10.1.0.50", "double"]);
    lab.nb("lsp-del double");
    no_longer_told(&lab, "double");
}

/// Two routers on one switch have one Ethernet address: whose packets go where is not said, but all others go on.
pub fn two_routers_with_one_mac(impls: Impls) {
    let lab = network(impls);
    for n in 1..=2 {
        lab.nb(&format!(
            "lr-add twin{n}
             lrp-add twin{n} twin{n}-s1 0a:00:00:00:fe:fe 10.1.0.20{n}/24
             lsp-add s1 s1-twin{n}
             lsp-set-type s1-twin{n} router
             lsp-set-options s1-twin{n} router-port=twin{n}-s1
             lsp-set-addresses s1-twin{n} router"
        ));
    }
    rest_works(&lab, 1);
    told(&lab, &["0a:00:00:00:fe:fe", "twin1-s1", "twin2-s1"]);
    lab.nb("set logical_router_port twin2-s1 mac='\"0a:00:00:00:fe:fd\"'");
    lab.ready();
    no_longer_told(&lab, "twin");
    lab.reaches("p1", "10.1.0.201");
    lab.reaches("p1", "10.1.0.202");
}

/// Two hosts claim one port: each may hold it, the rest is not disturbed, and it works once the claim is settled.
pub fn a_port_bound_on_two_hosts(impls: Impls) {
    let lab = network(impls);
    lab.nb("lsp-add s1 twice
            lsp-set-addresses twice '0a:00:00:00:01:09 10.1.0.9'");
    let config = "0a:00:00:00:01:09 10.1.0.9/24 via 10.1.0.254";
    lab.vm_of_port("h1", "twice-1", "twice", config);
    lab.vm_of_port("h2", "twice-2", "twice", config);
    rest_works(&lab, 1);
    lab.unplug("twice-1");
    wait_for(CONVERGE, "the second host to hold the port", || {
        let holder = lab.sb_get("port_binding", "chassis", "logical_port=twice");
        ensure(holder == lab.sb_get("chassis", "_uuid", "name=h2"), holder)
    });
    lab.reaches("p1", "10.1.0.9");
    rest_works(&lab, 2);
}

/// A host says that its tunnels end where another's do: the southbound, where tunnel ends are unique, refuses it.
pub fn a_southbound_that_refuses(impls: Impls) {
    let lab = network(impls);
    let (first, own) = (lab.address("h1"), lab.address("h2"));
    lab.vs(
        "h2",
        &format!("set open . external-ids:ovn-encap-ip={first}"),
    );
    if lab.impls().controller == Impl::Weft {
        wait_for(CONVERGE, "the refused row among the diagnostics", || {
            let list = lab.controller_appctl("h2", "diagnostics").result()?;
            ensure(
                list.contains("Chassis") && list.contains("h2") && list.contains("constraint"),
                list,
            )
        });
        // What is not refused goes on, on that host as well. Stock puts all into one transaction.
        rest_works(&lab, 1);
    }
    let ends = lab.sb_get(
        "encap",
        "chassis_name",
        &format!("'ip=\"{first}\"' type=geneve"),
    );
    assert_eq!(ends, "h1");
    lab.vs("h2", &format!("set open . external-ids:ovn-encap-ip={own}"));
    if lab.impls().controller == Impl::Weft {
        wait_for(CONVERGE, "diagnostics without the row", || {
            let list = lab.controller_appctl("h2", "diagnostics").result()?;
            ensure(!list.contains("constraint"), list)
        });
    }
    rest_works(&lab, 2);
}

/// Stock northd hangs for ever when a router with a static MAC binding goes away.
pub fn a_router_goes_with_its_mac_binding(impls: Impls) {
    if impls.or_from_env().northd == Impl::Stock {
        return;
    }
    let lab = network(impls);
    lab.nb(
        "lr-add gone
            lrp-add gone gone-port 0a:00:00:00:fe:01 10.9.0.254/24
            create static_mac_binding logical_port=gone-port ip=10.9.0.1 'mac=\"0a:00:00:00:09:01\"'",
    );
    rest_works(&lab, 1);
    assert_eq!(
        lab.sb_get("static_mac_binding", "ip", "logical_port=gone-port"),
        "10.9.0.1"
    );
    lab.nb("--wait=sb lr-del gone");
    assert_eq!(
        lab.sb_get("static_mac_binding", "ip", "logical_port=gone-port"),
        ""
    );
    rest_works(&lab, 2);
    lab.nb("--all destroy static_mac_binding");
    rest_works(&lab, 3);
}
