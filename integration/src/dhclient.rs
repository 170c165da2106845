//! The DHCP client and server of the ISC in VMs.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::command::Done;
use crate::lab::{CONVERGE, Lab};
use crate::wait::ensure;
use crate::wait_for;

/// What it may ask for: no more than a test has the patience for.
const CONFIG: &str = "retry 1;\ninitial-interval 1;\nbackoff-cutoff 2;\nselect-timeout 0;\n\
    option classless-routes code 121 = array of unsigned integer 8;\n";

/// Writes down what the client learned, and gives the device its address.
const SCRIPT: &str = r#"#!/bin/sh
echo "$reason ip=$new_ip_address mask=$new_subnet_mask routers=$new_routers dns=$new_domain_name_servers \
domain=$new_domain_name mtu=$new_interface_mtu host=$new_host_name lease=$new_dhcp_lease_time routes=$new_classless_routes \
server=$new_dhcp_server_identifier file=$new_bootfile_name ip6=$new_ip6_address dns6=$new_dhcp6_name_servers \
search6=$new_dhcp6_domain_search" >> "$EVENTS"
case $reason in
BOUND | REBOOT | RENEW | REBIND)
    ip addr replace "$new_ip_address/$new_subnet_mask" dev "$interface"
    [ -z "$new_routers" ] || ip route replace default via "${new_routers%% *}" dev "$interface"
    ;;
BOUND6 | RENEW6 | REBIND6) ip addr replace "$new_ip6_address/64" dev "$interface" nodad ;;
esac
exit 0
"#;

/// A client, which goes on renewing its lease until the lab ends.
#[derive(Debug)]
pub struct Dhclient {
    vm: String,
    dir: PathBuf,
}

impl Lab {
    /// Runs the client on the device of a VM until it has what it asked for: `-4`, `-6`, or `-6 -S` without an address.
    #[track_caller]
    pub fn dhclient(&self, vm: &str, options: &str) -> Dhclient {
        let (client, done) = self.dhclient_tries(vm, options, 20);
        done.ok();
        client
    }

    /// The same, when it may get nothing within so many seconds.
    #[track_caller]
    pub fn dhclient_tries(&self, vm: &str, options: &str, seconds: u32) -> (Dhclient, Done) {
        let name = format!("dhclient-{vm}{}", options.replace(' ', ""));
        let dir = self.host_dir(&self.hosts()[0]).join(name);
        fs::create_dir_all(&dir).expect("the lab's folder can be written");
        let file = |name: &str, text: &str| {
            let path = dir.join(name);
            fs::write(&path, text).expect("the lab's folder can be written");
            path
        };
        let (config, script) = (
            file("dhclient.conf", &format!("timeout {seconds};\n{CONFIG}")),
            file("script", SCRIPT),
        );
        fs::set_permissions(&script, fs::Permissions::from_mode(0o755))
            .expect("a file of ours can be made executable");
        let client = Dhclient {
            vm: vm.to_owned(),
            dir,
        };
        let dir = client.dir.display();
        let done = self.vm_run(
            vm,
            &format!(
                "timeout 60 dhclient {options} -1 -v -cf {} -sf {} -lf {dir}/leases -pf {dir}/dhclient.pid -e EVENTS={dir}/events {vm}",
                config.display(),
                script.display()
            ),
        );
        (client, done)
    }
}

impl Lab {
    /// Runs the server of the ISC in a VM until the lab ends, with a configuration as dhcpd.conf(5) has it.
    #[track_caller]
    pub fn dhcpd(&self, vm: &str, config: &str) {
        let dir = self.host_dir(&self.hosts()[0]).join(format!("dhcpd-{vm}"));
        fs::create_dir_all(&dir).expect("the lab's folder can be written");
        for (name, text) in [("dhcpd.conf", config), ("leases", "")] {
            fs::write(dir.join(name), text).expect("the lab's folder can be written");
        }
        let dir = dir.display();
        self.vm_run(
            vm,
            &format!(
                "timeout 60 dhcpd -4 -q -cf {dir}/dhcpd.conf -lf {dir}/leases -pf {dir}/dhcpd.pid {vm}"
            ),
        )
        .ok();
    }
}

impl Dhclient {
    /// What it has learned, a line each time.
    pub fn events(&self) -> Vec<String> {
        let text = fs::read_to_string(self.dir.join("events")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits for another lease than those there are, in which `what` stands.
    #[track_caller]
    pub fn next(&self, what: &str) -> String {
        let before = self.events().len();
        wait_for(
            CONVERGE,
            &format!("{what} for the client in {}", self.vm),
            || {
                let events = self.events();
                let new = events[before.min(events.len())..].iter();
                let mut found = new.filter(|event| event.contains(what));
                found.next().cloned().ok_or(format!("{events:#?}"))
            },
        )
    }

    /// The last thing it learned has all these words.
    #[track_caller]
    pub fn knows(&self, words: &[&str]) {
        let last = self.events().pop().unwrap_or_default();
        let parts: Vec<&str> = last.split(' ').collect();
        for word in words {
            assert!(
                ensure(
                    parts.contains(word) || last.contains(&format!("{word} ")),
                    ""
                )
                .is_ok(),
                "no {word} in: {last}"
            );
        }
    }
}
