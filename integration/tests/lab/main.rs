//! Networks with real packets. Every scenario runs with all programs ours, with our northd under stock controllers
//! and with our controllers under stock northd; `WEFT_IMPL=stock` proves the scenario itself.
#![allow(clippy::unwrap_used)]

mod acl;
mod acl_log;
mod acl_more;
mod ageing;
mod announce;
mod audit;
mod bad_input;
mod bfd;
mod dhcp;
mod dns;
mod ecmp;
mod encaps;
mod external;
mod failover;
mod flood;
mod forwarding;
mod functions;
mod health;
mod lb;
mod lb_distributed;
mod lb_gateway;
mod listing;
mod migration;
mod mirror;
mod mtu;
mod multicast;
mod nat;
mod neighbors;
mod node_gateways;
mod outside;
mod pd;
mod plug;
mod policy;
mod port_life;
mod projects;
mod qos;
mod ra;
mod restart;
mod routing;
mod sampling;
mod switching;
mod two_chassis;
mod virtual_ports;
mod vlan_routing;

/// Each function as a test in each combination of programs.
macro_rules! scenarios {
    ($($module:ident: $($name:ident)*;)*) => {
        scenarios!(@ all_ours WEFT $($module: $($name)*;)*);
        scenarios!(@ northd_ours WEFT_NORTHD $($module: $($name)*;)*);
        scenarios!(@ controller_ours WEFT_CONTROLLER $($module: $($name)*;)*);
    };
    (@ $combination:ident $impls:ident $($module:ident: $($name:ident)*;)*) => {
        mod $combination {
            $($(
                #[test]
                fn $name() {
                    crate::$module::$name(weft_integration::Impls::$impls);
                }
            )*)*
        }
    };
}

scenarios! {
    acl_log: verdicts_are_logged replies_are_logged a_meter_limits_the_log a_fair_meter_per_acl a_meter_that_is_not_there
        rejects_are_metered;
    sampling: drops_are_sampled acls_are_sampled;
    switching: two_ports_on_one_host geneve_carries_the_keys vxlan_carries_the_keys
        same_addresses_on_two_switches_never_meet a_port_moves_between_hosts a_host_dies_and_returns
        unknown_addresses_are_learned containers_behind_a_parent port_security_drops_what_is_forged
        a_localport_stays_on_its_host a_disabled_port_is_silent addresses_are_given_out;
    node_gateways: nodes_behind_their_gateway_ports;
    projects: projects_on_a_provider_network;
    routing: three_hosts_three_subnets three_subnets_over_vxlan a_subnet_per_node the_router_answers_for_itself routers_joined_by_a_link
        static_routes neighbors_are_learned;
    lb: virtual_addresses_from_near_and_far a_backend_is_its_own_client a_client_stays_with_its_backend
        a_thousand_connections nobody_is_behind errors_come_from_the_virtual_address
        backends_that_are_down_are_left_out an_event_for_empty_backends templates_differ_from_host_to_host;
    lb_gateway: from_outside_through_a_gateway_router the_router_stands_for_its_clients;
    ageing: neighbors_are_forgotten;
    outside: localnet_untagged localnet_in_a_vlan localnet_beyond_a_router;
    ecmp: replies_go_through_the_same_next_hop;
    policy: policies_go_before_routes;
    virtual_ports: an_address_moves_between_parents;
    announce: ports_are_announced routers_are_announced;
    external: one_host_speaks_for_it;
    port_life: containers_change_their_parents ports_come_up_without_northd;
    two_chassis: each_has_its_bridge;
    encaps: tunnels_are_as_told;
    migration: a_twin_waits_for_its_rarp a_twin_on_a_physical_network;
    mtu: too_big_for_the_gateway;
    neighbors: routers_ask_for_each_other not_every_question_teaches;
    vlan_routing: hosts_have_addresses_of_their_own redirected_over_the_wire;
    nat: a_gateway_router_translates a_gateway_port_translates a_floating_address_stays_on_its_host bad_rules
        streams_through_a_gateway_router streams_through_a_gateway_port neighbours_have_routes;
    failover: the_gateway_host_dies_and_returns the_gateways_link_fails_and_returns the_new_gateway_announces_itself
        streams_survive_their_gateway;
    dhcp: leases_are_given_and_renewed who_is_not_served_gets_nothing addresses_and_options_of_version_6
        only_the_owner_answers_for_a_host_outside;
    restart: northd_killed controller_killed vswitchd_restarted local_ovsdb_restarted central_databases_restarted
        southbound_away_for_a_while;
    acl: allow_related_lets_replies_back sctp_is_tracked_too established_connections_are_cut related_errors_pass
        stateless_stays_out_of_conntrack reject_answers a_refusal_is_not_refused drop_by_default groups_and_sets_change
        across_a_router acls_after_load_balancing bad_rows_cost_only_themselves zones_survive_restarts a_zone_can_be_asked_for;
    acl_more: refused_at_the_port_to_a_router one_address_of_thousands;
    dns: names_are_told answers_pass_acls;
    pd: a_gateway_port_is_given_a_prefix;
    ra: solicitations_are_answered hosts_configure_themselves routers_advertise_unasked
        a_gateway_router_advertises_to_all_hosts;
    multicast: registered_groups_reach_their_members unregistered_groups a_querier_keeps_groups_alive a_router_relays
        reports_reach_those_who_route groups_are_flushed_and_survive_restarts a_flood_of_reports_is_bounded
        groups_on_a_physical_network;
    qos: dscp_in_both_directions rates_are_limited ports_have_queues;
    listing: logical_flows_with_those_of_the_bridge;
    forwarding: ports_take_turns;
    mirror: gre_carries_copies_away erspan_is_set_up;
    bad_input: address_set_named_like_a_generated_one malformed_rows duplicate_addresses two_routers_with_one_mac a_port_bound_on_two_hosts
        a_southbound_that_refuses a_router_goes_with_its_mac_binding;
}

// What stock northd of 23.03 does not do (tiers of ACLs; connections that persist; checks of matches; packet marks; diagnostics; chains
// of policies; mirrors of both directions; names of DNS in lower case).
scenarios! { @ of_our_northd WEFT
    acl: tiers_and_pass matches_are_checked_when_written;
    acl_more: connections_persist;
    qos: packets_are_marked bad_rules;
    policy: chains_of_policies;
    mirror: mirrors_to_nowhere;
    dns: names_and_values_as_written;
}
scenarios! { @ of_our_northd_alone WEFT_NORTHD
    acl: tiers_and_pass;
    acl_more: connections_persist;
    qos: packets_are_marked bad_rules;
    policy: chains_of_policies;
    mirror: mirrors_to_nowhere;
    dns: names_and_values_as_written;
}

// What stock controllers of 23.03 do not do: they log whatever comes, make their mirrors anew when they start, flush no connections
// on demand, answer no DNS with EDNS, ask for no prefix for gateway routers, and on a userspace datapath choose the same next
// hop for every flow (also under stock northd). Sessions of BFD do not come up between two stock controllers, whoever compiles
// (they do between one of ours and one of stock).
scenarios! { @ of_our_controller WEFT
    flood: a_flood_of_logs_slows_nothing;
    bfd: routes_follow_their_sessions;
    ecmp: equal_routes_share_the_load;
    policy: a_policy_shares_the_load_and_marks;
    acl: connections_are_flushed_on_demand;
    mirror: mirrors_survive_the_controller;
    dns: edns;
    pd: a_gateway_router_is_given_a_prefix;
}
scenarios! { @ of_our_controller_alone WEFT_CONTROLLER
    flood: a_flood_of_logs_slows_nothing;
    bfd: routes_follow_their_sessions;
    ecmp: equal_routes_share_the_load;
    policy: a_policy_shares_the_load_and_marks;
    acl: connections_are_flushed_on_demand;
    mirror: mirrors_survive_the_controller;
    dns: edns;
    pd: a_gateway_router_is_given_a_prefix;
}

// What OVN has only had since 23.06 (`local` mirrors, queues as rows of Open vSwitch by physical network) and since 25.03
// (`lport` mirrors, virtual routers in port security), `ovn-owned` names and relayed DHCP (24.03), checks of ports and with ICMP
// (26.03), network functions (25.09): neither stock program knows it.
scenarios! { @ newer_than_stock WEFT
    dhcp: a_router_passes_questions_on;
    health: ports_are_checked backends_are_checked_from_their_router;
    functions: traffic_goes_through_network_functions functions_get_copies functions_on_a_physical_network;
    qos: queues_of_a_physical_network;
    mirror: local_mirrors logical_mirrors;
    acl_more: a_virtual_router_behind_a_port;
    dns: names_of_ones_own;
}

// Of gateways, what stock northd of 23.03 does not do (ageing by network, zones apart at gateway ports,
// replies by another gateway port), ...
scenarios! { @ gateways_of_our_northd WEFT
    lb_gateway: replies_leave_by_another_gateway;
    ageing: networks_have_their_own_time;
    nat: zones_apart;
}
scenarios! { @ gateways_of_our_northd_alone WEFT_NORTHD
    lb_gateway: replies_leave_by_another_gateway;
    ageing: networks_have_their_own_time;
    nat: zones_apart;
}
// ... what stock controllers do not (connections of lost backends are forgotten since 23.09), ...
scenarios! { @ gateways_of_our_controller WEFT
    lb: connections_of_lost_backends_are_forgotten;
}
scenarios! { @ gateways_of_our_controller_alone WEFT_CONTROLLER
    lb: connections_of_lost_backends_are_forgotten;
}
// ... and what neither does (since 23.09 what is used does not age, since 24.09 IPv4 goes over IPv6, since 26.03 backends are
// chosen on their own hosts).
scenarios! { @ gateways_newer_than_stock WEFT
    lb_distributed: every_host_has_its_own_backends;
    ageing: what_is_used_is_kept;
    neighbors: ipv4_goes_over_ipv6;
}

// Likewise: addresses for tunnels by interface (24.03), signs of life of a migrated machine other than RARP (25.03); and no
// stock controller was built with a way to plug VIFs.
scenarios! { @ ports_newer_than_stock WEFT
    encaps: each_interface_has_its_address;
    migration: other_signs_of_life;
    plug: a_port_asks_to_be_plugged;
}

// Stock controllers of 23.03 lose the packets to a port whose key changes, and now and then those to a host whose addresses
// change, whoever compiles.
scenarios! { @ ports_of_our_controller WEFT
    encaps: addresses_come_and_go;
    port_life: keys_change_under_traffic;
}
scenarios! { @ ports_of_our_controller_alone WEFT_CONTROLLER
    encaps: addresses_come_and_go;
    port_life: keys_change_under_traffic;
}

// What stock has not.
scenarios! { @ of_all_ours WEFT
    audit: daemons_audit_themselves;
}
