//! A random router: addresses, routes, rules, a firewall, settings; packets, and changes between them.

use std::net::Ipv4Addr;

use fastrand::Rng;

use super::packets::{Places, Spec};
use super::run::NAMES;
use super::script::{Line, Script};

/// Packets between two settlings: fewer than every queue on the way has room for.
const WINDOW: usize = 24;

/// The script of a seed.
pub(crate) fn script(seed: u64) -> Script {
    let mut rng = Rng::with_seed(seed);
    let hosts = [2, 2, 3, 3, 4][rng.usize(..5)];
    let owned = if hosts > 2 && rng.bool() { hosts - 1 } else { hosts };
    let mut draw = Draw { rng, hosts, lines: Vec::new(), flows: Vec::new(), number: 0 };
    draw.router();
    draw.lines.push(Line::Start);
    let windows = draw.rng.usize(2..=3);
    for window in 0..windows {
        if window > 0 {
            for _ in 0..draw.rng.usize(1..=2) {
                draw.change();
            }
            draw.lines.push(Line::Settle);
        }
        draw.window();
        draw.lines.push(Line::Settle);
    }
    Script { hosts, owned, lines: draw.lines }
}

struct Draw {
    rng: Rng,
    hosts: usize,
    lines: Vec<Line>,
    /// Packets that may be answered.
    flows: Vec<Spec>,
    number: u16,
}

/// A remote network behind a host.
fn remote(host: usize) -> String {
    format!("10.2{host}.0.0/16")
}

impl Draw {
    fn say(&mut self, command: impl Into<String>) {
        self.lines.push(Line::Router(command.into()));
    }

    fn one_in(&mut self, many: u8) -> bool {
        self.rng.u8(..many) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.rng.usize(..from.len())]
    }

    fn host(&mut self) -> usize {
        self.rng.usize(..self.hosts)
    }

    fn interface(&mut self) -> &'static str {
        let host = self.host();
        NAMES[host]
    }

    /// Some network that packets come from or go to.
    fn network(&mut self) -> String {
        let host = self.host();
        match self.rng.u8(..8) {
            0 => format!("10.9.{}.0/24", host + 1),
            1 => format!("10.9.{}.3", host + 1),
            2 => format!("10.2{host}.1.0/24"),
            3 => format!("10.2{host}.0.0/17"),
            4 => "172.17.0.0/16".to_owned(),
            5 => format!("10.2{host}.1.9"),
            _ => remote(host),
        }
    }

    fn router(&mut self) {
        for (host, name) in NAMES.into_iter().enumerate().take(self.hosts) {
            let net = host + 1;
            for last in 3..5 {
                self.say(format!(
                    "ip neigh replace 10.9.{net}.{last} lladdr 02:00:00:09:{net:02x}:02 dev {name} nud permanent"
                ));
            }
            self.say(format!("ip route add {} via 10.9.{net}.2", remote(host)));
        }
        if self.rng.bool() {
            let net = self.host() + 1;
            self.say(format!("ip route add default via 10.9.{net}.2"));
        }
        for _ in 0..self.rng.usize(..4) {
            self.route("add");
        }
        if self.one_in(3) {
            for _ in 0..self.rng.usize(1..=2) {
                self.policy_rule();
            }
        }
        for _ in 0..self.rng.usize(..3) {
            self.setting();
        }
        if self.rng.u8(..4) > 0 {
            self.firewall();
        }
        if self.one_in(8) {
            self.queueing();
        }
    }

    fn route(&mut self, verb: &str) {
        let network = self.network();
        let net = self.host() + 1;
        let last = self.rng.u8(2..6);
        let route = match self.rng.u8(..9) {
            0 => format!("blackhole {network}"),
            1 => format!("unreachable {network}"),
            2 => format!("prohibit {network}"),
            3 => format!("throw {network}"),
            4 => format!("{network} via 10.9.{net}.{last} mtu lock 1000"),
            5 => format!("{network} via 10.9.{net}.{last} metric 50"),
            6 => format!("{network} dev {}", NAMES[net - 1]),
            _ => format!("{network} via 10.9.{net}.{last}"),
        };
        self.say(format!("ip route {verb} {route}"));
    }

    fn policy_rule(&mut self) {
        let (network, other) = (self.network(), self.network());
        let (interface, net) = (self.interface(), self.host() + 1);
        let rule = match self.rng.u8(..8) {
            0 => format!("from {network} table 100"),
            1 => format!("to {network} table 100"),
            2 => format!("iif {interface} table 100"),
            3 => "fwmark 7 table 100".to_owned(),
            4 => "not fwmark 7 table 100".to_owned(),
            5 => format!("from {network} to {other} prohibit"),
            6 => "lookup main suppress_prefixlength 0".to_owned(),
            _ => "table 100".to_owned(),
        };
        let network = self.network();
        self.say(format!("ip route add {network} via 10.9.{net}.2 table 100"));
        let preference = self.rng.u16(1..32000);
        self.say(format!("ip rule add preference {preference} {rule}"));
    }

    fn setting(&mut self) {
        let all = ["all", self.interface()];
        let whose = self.pick(&all);
        let interface = self.interface();
        let command = match self.rng.u8(..6) {
            0 | 1 => format!("sysctl -qw net.ipv4.conf.{whose}.rp_filter={}", self.rng.u8(..3)),
            2 => format!("sysctl -qw net.ipv4.conf.{interface}.forwarding=0"),
            3 => format!("ip link set {interface} mtu {}", [1000, 1280, 1400][self.rng.usize(..3)]),
            4 => "sysctl -qw net.ipv4.ip_forward_use_pmtu=1".to_owned(),
            _ => format!("ip addr add 10.9.{}.77/24 dev {interface}", self.host() + 1),
        };
        self.say(command);
    }

    fn queueing(&mut self) {
        let interface = self.interface();
        if self.rng.bool() {
            self.say(format!("tc qdisc add dev {interface} clsact"));
            self.say(format!(
                "tc filter add dev {interface} ingress protocol ip u32 match ip dport 80 0xffff action drop"
            ));
        } else {
            self.say(format!(
                "tc qdisc add dev {interface} root tbf rate 1gbit burst 100kb latency 50ms"
            ));
        }
    }

    /// A few chains, a few rules in each.
    fn firewall(&mut self) {
        let family = self.pick(&["ip", "inet"]);
        self.say(format!("nft add table {family} t"));
        self.say(format!("nft add set {family} t s '{{ type ipv4_addr; flags interval; }}'"));
        let network = self.network();
        self.say(format!("nft add element {family} t s '{{ {network} }}'"));
        self.say(format!("nft add chain {family} t sub"));
        for _ in 0..self.rng.usize(..3) {
            let rule = self.rule(false);
            self.say(format!("nft add rule {family} t sub {rule}"));
        }
        let hooks: [(&str, &str); 4] = [
            ("fwd", "type filter hook forward priority 0"),
            ("fwd", "type filter hook forward priority 0"),
            ("pre", "type filter hook prerouting priority -150"),
            ("post", "type filter hook postrouting priority 0"),
        ];
        for _ in 0..self.rng.usize(1..=2) {
            let (name, hook) = hooks[self.rng.usize(..hooks.len())];
            let policy = if self.one_in(4) && name == "fwd" { "drop" } else { "accept" };
            self.say(format!("nft add chain {family} t {name} '{{ {hook}; policy {policy}; }}'"));
            if self.one_in(3) {
                self.say(format!(
                    "nft add rule {family} t {name} ct state established,related accept"
                ));
                if self.rng.bool() {
                    self.say(format!("nft add rule {family} t {name} ct state invalid drop"));
                }
            }
            for _ in 0..self.rng.usize(1..=4) {
                let rule = self.rule(true);
                self.say(format!("nft add rule {family} t {name} {rule}"));
            }
        }
        if self.one_in(4) {
            self.translation();
        }
    }

    fn translation(&mut self) {
        self.say("nft add table ip n");
        if self.rng.bool() {
            self.say("nft add chain ip n post '{ type nat hook postrouting priority 100; }'");
            let (network, interface) = (self.network(), self.interface());
            self.say(format!(
                "nft add rule ip n post ip saddr {network} oifname {interface} masquerade"
            ));
        } else {
            self.say("nft add chain ip n pre '{ type nat hook prerouting priority -100; }'");
            let (interface, net) = (self.interface(), self.host() + 1);
            let protocol = self.pick(&["tcp", "udp"]);
            self.say(format!(
                "nft add rule ip n pre iifname {interface} {protocol} dport 8080 dnat to 10.9.{net}.3:80"
            ));
        }
    }

    fn rule(&mut self, jumps: bool) -> String {
        let mut words = Vec::new();
        for _ in 0..self.rng.usize(1..=2) {
            words.push(self.condition());
        }
        let verdicts: &[&str] = match jumps {
            true => &[
                "accept",
                "drop",
                "drop",
                "reject",
                "counter",
                "return",
                "jump sub",
                "goto sub",
                "counter drop",
            ],
            false => &["accept", "drop", "return", "counter", "meta mark set 7"],
        };
        words.push(self.pick(verdicts).to_owned());
        words.join(" ")
    }

    fn condition(&mut self) -> String {
        let (network, interface) = (self.network(), self.interface());
        let port = [22, 25, 53, 80, 443, 8080][self.rng.usize(..6)];
        let protocol = self.pick(&["tcp", "udp"]);
        match self.rng.u8(..16) {
            0 => format!("iifname {interface}"),
            1 => format!("oifname {interface}"),
            2 => format!("iifname != {interface}"),
            3 => format!("ip saddr {network}"),
            4 => format!("ip daddr {network}"),
            5 => format!("ip saddr != {network}"),
            6 => "ip daddr @s".to_owned(),
            7 => "ip saddr @s".to_owned(),
            8 => format!("{protocol} dport {port}"),
            9 => format!("{protocol} sport {port}"),
            10 => format!("{protocol} dport {{ {port}, 1000-2000 }}"),
            11 => format!("meta l4proto {protocol}"),
            12 => "icmp type echo-request".to_owned(),
            13 => "meta mark 7".to_owned(),
            14 => "ip frag-off & 0x1fff != 0".to_owned(),
            _ => "meta l4proto { icmp, gre }".to_owned(),
        }
    }

    /// Something that changes while packets pass.
    fn change(&mut self) {
        let network = self.network();
        let interface = self.interface();
        match self.rng.u8(..12) {
            0 => self.route("add"),
            1 => self.route("replace"),
            2 => self.say(format!("ip route del {network}")),
            3 => self.say(format!("for f in ip inet; do nft add element $f t s '{{ {network} }}'; done")),
            4 => {
                let rule = self.rule(true);
                self.say(format!("for f in ip inet; do nft insert rule $f t fwd {rule}; done"));
            }
            5 => self.say("nft flush ruleset"),
            6 => self.setting(),
            7 => self.policy_rule(),
            8 => self.say("ip rule flush; ip rule add pref 32766 table main; ip rule add pref 32767 table default"),
            9 => self.say(format!("ip link set {interface} down; ip link set {interface} up")),
            10 => self.firewall(),
            _ => {
                let net = self.host() + 1;
                self.say(format!(
                    "ip neigh replace 10.9.{net}.2 lladdr 02:00:00:09:{net:02x}:02 dev {} nud permanent",
                    NAMES[net - 1]
                ));
            }
        }
    }

    fn window(&mut self) {
        let places = self.places();
        for _ in 0..WINDOW {
            let answered = !self.flows.is_empty() && self.rng.u8(..5) < 2;
            let spec = match answered {
                true => {
                    let at = self.rng.usize(..self.flows.len());
                    let flow = self.flows[at].clone();
                    let behind = |places: &[Ipv4Addr]| places.contains(&flow.destination);
                    let host = places.behind.iter().position(|places| behind(places));
                    flow.answer(host.unwrap_or(flow.host))
                }
                false => places.draw(&mut self.rng),
            };
            self.number += 1;
            self.lines.push(Line::Send(spec.host, spec.bytes(self.number)));
            self.flows.push(spec);
        }
    }

    fn places(&self) -> Places {
        let behind = |host: usize| {
            let net = u8::try_from(host + 1).unwrap_or(1);
            let far = 19 + net;
            vec![
                Ipv4Addr::new(10, 9, net, 2),
                Ipv4Addr::new(10, 9, net, 3),
                Ipv4Addr::new(10, far, 1, 9),
                Ipv4Addr::new(10, far, 1, 10),
                Ipv4Addr::new(10, far, 200, 1),
            ]
        };
        let strange = vec![
            Ipv4Addr::new(172, 17, 0, 9),
            Ipv4Addr::new(10, 9, 1, 1),
            Ipv4Addr::new(10, 9, 2, 1),
            Ipv4Addr::new(10, 9, 2, 255),
            Ipv4Addr::new(224, 0, 0, 5),
            Ipv4Addr::new(255, 255, 255, 255),
            Ipv4Addr::new(127, 0, 0, 1),
            Ipv4Addr::new(169, 254, 1, 1),
            Ipv4Addr::new(0, 0, 0, 0),
            Ipv4Addr::new(198, 51, 100, 7),
        ];
        Places { behind: (0..self.hosts).map(behind).collect(), strange }
    }
}
