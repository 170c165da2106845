//! Names that the hosts answer for themselves, asked for with `dig`.

use weft_integration::lab::CONVERGE;
use weft_integration::wait::ensure;
use weft_integration::{Impls, Lab, wait_for};

/// Two machines on a switch, of which one asks the other, which knows nothing.
fn pair(impls: Impls) -> Lab {
    let lab = Lab::new(impls, 1);
    lab.nb("ls-add s
            lsp-add s p1
            lsp-set-addresses p1 '0a:00:00:00:00:01 10.0.0.1 fd00::1'
            lsp-add s p2
            lsp-set-addresses p2 '0a:00:00:00:00:02 10.0.0.2 fd00::2'");
    lab.vm("h1", "p1", "0a:00:00:00:00:01 10.0.0.1/24 fd00::1/64");
    lab.vm("h1", "p2", "0a:00:00:00:00:02 10.0.0.2/24 fd00::2/64");
    lab.ready();
    lab
}

/// A set of records on the switch, by a name for the commands that follow.
fn records(lab: &Lab, records: &str) -> String {
    let row = lab.nb(&format!(
        "--id=@d create DNS {records} -- add logical_switch s dns_records @d"
    ));
    lab.nb("--wait=hv sync");
    row.trim().to_owned()
}

/// The answer, one line per record.
fn dig(lab: &Lab, words: &str) -> Result<String, String> {
    let line = format!("dig +tries=1 +timeout=2 {words}");
    lab.vm_run("p1", &line).result()
}

#[track_caller]
fn tells(lab: &Lab, words: &str, answer: &str) {
    wait_for(CONVERGE, &format!("{answer:?} to {words}"), || {
        let seen = dig(lab, &format!("+short {words}"))?;
        ensure(seen.trim() == answer, seen)
    });
}

/// Nobody answers: the question has gone to the server, which is none and says so by ICMP.
#[track_caller]
fn goes_on(lab: &Lab, words: &str) {
    let seen = dig(lab, words);
    assert!(seen.is_err(), "{words}: {seen:?}");
}

/// What a plain question is answered, over both versions of IP.
pub fn names_are_told(impls: Impls) {
    let lab = pair(impls);
    let row = records(
        &lab,
        r#"records:vm1.ovn.org='"10.0.0.4 aef0::4 10.0.0.5"' records:4.0.0.10.in-addr.arpa=vm1.ovn.org"#,
    );
    for server in ["@10.0.0.2", "@fd00::2"] {
        let tells = |words: &str, answer| tells(&lab, &format!("+noedns {server} {words}"), answer);
        tells("vm1.ovn.org", "10.0.0.4\n10.0.0.5");
        tells("VM1.Ovn.ORG AAAA", "aef0::4");
        tells("vm1.ovn.org ANY +notcp", "10.0.0.4\n10.0.0.5\naef0::4");
        tells("-x 10.0.0.4", "vm1.ovn.org.");
        goes_on(&lab, &format!("+noedns {server} other.ovn.org"));
        goes_on(&lab, &format!("+noedns {server} vm1.ovn.org MX"));
    }
    // Live.
    lab.nb(&format!("set dns {row} records:vm1.ovn.org=10.0.0.7"));
    tells(&lab, "+noedns @10.0.0.2 vm1.ovn.org", "10.0.0.7");
    lab.nb("clear logical_switch s dns_records");
    lab.nb("--wait=hv sync");
    goes_on(&lab, "+noedns @10.0.0.2 vm1.ovn.org");
}

/// Answers reach those whom ACLs shield.
pub fn answers_pass_acls(impls: Impls) {
    let lab = pair(impls);
    records(&lab, "records:vm1.ovn.org=10.0.0.4");
    for action in ["drop", "allow-related"] {
        lab.nb(&format!(
            "acl-del s
             acl-add s to-lport 1000 'udp' {action}
             acl-add s to-lport 900 'ip' drop"
        ));
        lab.nb("--wait=hv sync");
        tells(&lab, "+noedns @10.0.0.2 vm1.ovn.org", "10.0.0.4");
        tells(&lab, "+noedns @fd00::2 vm1.ovn.org", "10.0.0.4");
    }
}

/// Names in upper case and addresses with commas, as manuals allow them.
pub fn names_and_values_as_written(impls: Impls) {
    let lab = pair(impls);
    records(
        &lab,
        r#"records:VM1.ovn.org='"10.0.0.4,10.0.0.5, aef0::4"'"#,
    );
    tells(&lab, "+noedns @10.0.0.2 vm1.ovn.org", "10.0.0.4\n10.0.0.5");
    tells(&lab, "+noedns @10.0.0.2 VM1.ovn.org AAAA", "aef0::4");
}

/// What `dig` sends by itself, and answers that are too long.
pub fn edns(impls: Impls) {
    let lab = pair(impls);
    let many: Vec<String> = (1..=60).map(|n| format!("10.9.0.{n}")).collect();
    records(
        &lab,
        &format!(
            r#"records:vm1.ovn.org='"10.0.0.4 aef0::4"' records:big.ovn.org='"{}"'"#,
            many.join(" ")
        ),
    );
    tells(&lab, "@10.0.0.2 vm1.ovn.org", "10.0.0.4");
    tells(&lab, "@fd00::2 vm1.ovn.org AAAA", "aef0::4");
    let whole = dig(&lab, "@10.0.0.2 vm1.ovn.org +dnssec").unwrap();
    assert!(
        whole.contains("EDNS: version: 0, flags: do;") && !whole.contains("FORMERR"),
        "{whole}"
    );
    tells(&lab, "@10.0.0.2 big.ovn.org", &many.join("\n"));
    let cut = dig(&lab, "@10.0.0.2 big.ovn.org +noedns +ignore").unwrap();
    assert!(cut.contains("flags: qr tc rd;"), "{cut}");
    let told = cut.matches("10.9.0.").count();
    assert!((25..60).contains(&told), "{told} of 60: {cut}");
}

/// A name that only the hosts know: whoever asks for what it has not is told so at once.
pub fn names_of_ones_own(impls: Impls) {
    let lab = pair(impls);
    let row = records(&lab, "records:vm1.ovn.org=10.0.0.4 options:ovn-owned=true");
    tells(&lab, "@10.0.0.2 vm1.ovn.org", "10.0.0.4");
    let none = dig(&lab, "@10.0.0.2 vm1.ovn.org AAAA").unwrap();
    let empty = none.contains("status: NOERROR") && none.contains("ANSWER: 0");
    assert!(empty && none.contains("flags: qr aa"), "{none}");
    // Those who look for both families need not wait, nor ask anybody else.
    let looks = "mount -t tmpfs none /mnt && echo nameserver 10.0.0.2 > /mnt/servers \
                 && mount --bind /mnt/servers /etc/resolv.conf && exec timeout 4 getent ahosts vm1.ovn.org";
    let found = lab
        .vm_run("p1", &format!("unshare -m sh -c '{looks}'"))
        .ok();
    assert!(found.contains("10.0.0.4"), "{found}");
    goes_on(&lab, "@10.0.0.2 vm1.ovn.org MX");
    goes_on(&lab, "@10.0.0.2 other.ovn.org");
    lab.nb(&format!("set dns {row} options:ovn-owned=false"));
    lab.nb("--wait=hv sync");
    goes_on(&lab, "@10.0.0.2 vm1.ovn.org AAAA");
}
