use super::*;
use spine_client::signature::SecretKey;

/// What is wrong with a policy, and on which line.
fn wrong(text: &str) -> (usize, String) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    std::fs::write(&path, text).unwrap();
    match Policy::read(&path) {
        Err(PolicyError::Wrong { line, what, .. }) => (line, what),
        other => panic!("{text}: {other:?}"),
    }
}

fn policy(text: &str) -> Policy {
    Policy::parse(text).unwrap_or_else(|(at, what)| panic!("byte {at}: {what}"))
}

fn asker(user: u32, groups: &[u32]) -> Asker<'_> {
    Asker { user, name: "somebody", groups, signer: None }
}

fn wish(domains: &[Domain]) -> Wish<'_> {
    let domains = domains.iter().fold(Domains::CORE, |set, domain| set.with(*domain));
    Wish {
        extension: "hello",
        interface: "left",
        domains,
        prefixes: &[],
        claimant: false,
        ports: &[],
        peers: &[],
        exports: None,
        links: &[],
    }
}

#[test]
fn without_grants_root_has_everything_and_nobody_else_anything() {
    let none = Policy::default();
    let everything = wish(Domain::ALL);
    let roots = none.decide(&asker(0, &[0]), &everything).expect("root");
    assert_eq!(roots.limits, Limits::MOST);
    assert!(roots.reaches("anywhere") && roots.messages().is_none());
    assert!(none.knows(0, &[]));
    assert!(!none.knows(1000, &[1000, 0]));
    let sentence = none.decide(&asker(1000, &[0]), &wish(&[Domain::Net])).unwrap_err().to_string();
    assert_eq!(
        sentence,
        "the policy grants somebody nothing on left, and the extension hello asks for the domains core, net"
    );
}

#[test]
fn one_grant_must_allow_all_of_a_wish() {
    let policy = policy(
        r#"
        [[grant]]
        user = 1000
        interfaces = ["left"]
        domains = ["host"]
        extensions = 1
        [[grant]]
        group = 2000
        interfaces = ["*"]
        domains = ["net"]
        extensions = 2
        "#,
    );
    let (alice, media) = (asker(1000, &[1000]), asker(1001, &[7, 2000]));
    let both = asker(1000, &[2000]);
    assert_eq!(policy.decide(&alice, &wish(&[Domain::Host])).map(|it| it.limits.extensions), Ok(1));
    assert_eq!(policy.decide(&media, &wish(&[Domain::Net])).map(|it| it.limits.extensions), Ok(2));
    assert!(policy.decide(&media, &wish(&[Domain::Host])).is_err());
    assert!(policy.decide(&both, &wish(&[Domain::Host])).is_ok());
    let sentence =
        policy.decide(&both, &wish(&[Domain::Host, Domain::Net])).unwrap_err().to_string();
    assert!(sentence.contains("the domain net on left"), "{sentence}");
    assert!(sentence.contains("granted: core, host (line 2)"), "{sentence}");
    let elsewhere = Wish { interface: "right", ..wish(&[Domain::Host]) };
    assert!(policy.decide(&alice, &elsewhere).is_err(), "not that interface");
}

#[test]
fn a_signature_counts_only_together_with_all_else_the_grant_says() {
    let (author, stranger) = (SecretKey::generate().unwrap(), SecretKey::generate().unwrap());
    let line = author.public().to_line();
    let hex = line.split_once(' ').unwrap().1;
    let policy = policy(&format!(
        "[[grant]]\nsigner = \"{hex}\"\ngroup = 7\ninterfaces = [\"left\"]\ndomains = [\"peer\"]"
    ));
    assert_eq!(policy.signers(), [author.public()]);
    let wish = wish(&[Domain::Peer]);
    let signed = |key: &SecretKey, groups| Asker { signer: Some(key.public()), ..asker(5, groups) };
    assert!(policy.decide(&signed(&author, &[7]), &wish).is_ok());
    assert!(policy.decide(&signed(&author, &[8]), &wish).is_err(), "another group");
    assert!(policy.decide(&signed(&stranger, &[7]), &wish).is_err(), "another author");
    assert!(policy.decide(&asker(5, &[7]), &wish).is_err(), "no signature");
}

#[test]
fn packets_are_claimed_only_where_the_grant_says() {
    let policy = policy(
        r#"
        [[grant]]
        user = 5
        interfaces = ["left"]
        domains = []
        prefixes = ["10.1.0.0/16"]
        ports = ["5000-5999", "7"]
        "#,
    );
    let ask = |prefixes: &[&str], ports: &[u16]| {
        let prefixes: Vec<Ipv4Net> = prefixes.iter().map(|p| p.parse().unwrap()).collect();
        let wish = Wish { prefixes: &prefixes, ports, ..wish(&[]) };
        let granted = policy.decide(&asker(5, &[]), &wish);
        granted.map(|it| it.limits).map_err(|refusal| refusal.to_string())
    };
    assert!(ask(&["10.1.2.0/24", "10.1.0.0/16"], &[5000, 5999, 7]).is_ok());
    let too_wide = ask(&["10.0.0.0/8"], &[]).unwrap_err();
    assert!(too_wide.contains("claim packets to 10.0.0.0/8 on left"), "{too_wide}");
    let port = ask(&[], &[6000]).unwrap_err();
    assert!(port.contains("claim packets to UDP port 6000"), "{port}");
}

#[test]
fn messages_go_only_to_the_machines_that_the_grant_names() {
    let grant = |peers: &str| {
        format!("[[grant]]\nuser = 5\ninterfaces = [\"left\"]\ndomains = [\"peer\"]\n{peers}\n")
    };
    let ask = |peers: &str, wanted: &[&str]| {
        let wanted: Vec<String> = wanted.iter().map(|&peer| peer.to_owned()).collect();
        let wish = Wish { peers: &wanted, ..wish(&[Domain::Peer]) };
        let policy = policy(&grant(peers));
        let granted = policy.decide(&asker(5, &[]), &wish);
        granted.map(|it| it.limits).map_err(|refusal| refusal.to_string())
    };
    assert!(ask("peers = [\"graz\", \"vienna\"]", &["vienna", "graz"]).is_ok());
    assert!(ask("peers = [\"*\"]", &["anywhere"]).is_ok());
    assert!(ask("", &[]).is_ok());
    for (peers, wanted) in [("", "vienna"), ("peers = [\"graz\"]", "vienna")] {
        let refused = ask(peers, &[wanted]).unwrap_err();
        assert!(
            refused.contains("let somebody send messages to the peer vienna on left (line 1"),
            "{refused}"
        );
    }
    let (line, what) = wrong(&grant("peers = [\"graz\", \"*\"]"));
    assert_eq!((line, what.as_str()), (5, "\"*\" means all peers and stands alone"));
}

#[test]
fn domains_are_exported_and_linked_against_only_where_the_grant_says() {
    let policy = policy(
        r#"
        [[grant]]
        user = 5
        interfaces = ["left"]
        domains = []
        exports = ["flow"]
        links = ["6:sums", "root:means"]
        "#,
    );
    let ask = |exports: Option<&str>, links: &[(u32, &str)]| {
        let wish = Wish { exports, links, ..wish(&[]) };
        let granted = policy.decide(&asker(5, &[]), &wish);
        granted.map(|it| it.limits).map_err(|refusal| refusal.to_string())
    };
    assert!(ask(Some("flow"), &[(6, "sums"), (0, "means"), (5, "own")]).is_ok());
    let export = ask(Some("flows"), &[]).unwrap_err();
    assert!(export.contains("let somebody export a domain flows on left"), "{export}");
    let link = ask(None, &[(7, "sums")]).unwrap_err();
    assert!(link.contains("link against the domain sums of user 7 on left (line 2"), "{link}");
    assert!(ask(None, &[(6, "means")]).is_err(), "another user's of the same name");
}

#[test]
fn what_is_wrong_in_a_file_is_said_with_its_line() {
    let good = "[[grant]]\nuser = 5\ninterfaces = [\"left\"]\ndomains = [\"net\"]\n";
    assert_eq!(policy(good).grants(), 1);
    let cases = [
        ("no TOML", "[[grant]]\nuser = \n", 2, "value"),
        ("unknown key", "[[grant]]\nuser = 5\nuzer = 6\n", 3, "unknown field `uzer`"),
        ("unknown table", "# comment\n[grants]\n", 2, "unknown field `grants`"),
        ("key twice", "[[grant]]\nuser = 5\nuser = 6\n", 3, "duplicate key"),
        ("nobody", "[[grant]]\ninterfaces = [\"a\"]\ndomains = []\n", 1, "is for somebody"),
        (
            "unknown domain",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = [\"net\",\n  \"nett\"]\n",
            5,
            "there is no domain \"nett\"; there are core,",
        ),
        (
            "domain twice",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = [\"net\", \"net\"]\n",
            4,
            "\"net\" is given twice",
        ),
        (
            "interface twice",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\", \"a\"]\ndomains = []\n",
            3,
            "\"a\" is given twice",
        ),
        (
            "no interface",
            "[[grant]]\nuser = 5\ninterfaces = []\ndomains = []\n",
            3,
            "at least one interface",
        ),
        (
            "star and another",
            "[[grant]]\nuser = 5\ninterfaces = [\"*\", \"a\"]\ndomains = []\n",
            3,
            "stands alone",
        ),
        (
            "no such user",
            "[[grant]]\nuser = \"nobody-of-that-name\"\ninterfaces = [\"a\"]\ndomains = []\n",
            2,
            "there is no user",
        ),
        (
            "no such group",
            "[[grant]]\ngroup = \"nobody-of-that-name\"\ninterfaces = [\"a\"]\ndomains = []\n",
            2,
            "there is no group",
        ),
        (
            "no key",
            "[[grant]]\nsigner = \"12\"\ninterfaces = [\"a\"]\ndomains = []\n",
            2,
            "64 hexadecimal digits",
        ),
        (
            "no prefix",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = []\nprefixes = [\"10.0.0.1/8\"]\n",
            5,
            "is no prefix",
        ),
        (
            "built-in domain exported",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = []\nexports = [\"net\"]\n",
            5,
            "and none of the runtime's",
        ),
        (
            "link without a user",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = []\nlinks = [\"flow\"]\n",
            5,
            "such as \"alice:flow\"",
        ),
        (
            "link to nobody",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = []\nlinks = [\"no-such-user:flow\"]\n",
            5,
            "there is no user \"no-such-user\"",
        ),
        (
            "no port",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = []\nports = [\"9-8\"]\n",
            5,
            "is no port",
        ),
        (
            "too much",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = []\nextensions = 9000\n",
            5,
            "extensions = 9000 is more than the 8192",
        ),
        (
            "negative",
            "[[grant]]\nuser = 5\ninterfaces = [\"a\"]\ndomains = []\nmemory = -1\n",
            5,
            "invalid value",
        ),
    ];
    for (name, text, line, sentence) in cases {
        let (found, what) = wrong(text);
        assert!(what.contains(sentence), "{name}: {what}");
        assert_eq!(found, line, "{name}: {what}");
        assert!(!what.contains('\n'), "{name}: {what}");
    }
    let (line, what) = wrong(&format!("{good}{good}"));
    assert_eq!(line, 5);
    assert!(what.contains("the grant on line 1 is for the same user"), "{what}");
}

#[test]
fn a_file_that_others_can_write_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("policy.toml");
    assert!(matches!(Policy::read(&path), Err(PolicyError::Unreadable { .. })));
    std::fs::write(&path, "").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
    assert!(matches!(Policy::read(&path), Err(PolicyError::Exposed { .. })));
}

#[test]
fn what_was_granted_reaches_its_interfaces_and_whom_it_may_send_messages_and_no_further() {
    let policy = policy(
        r#"
        [[grant]]
        user = 5
        interfaces = ["left", "right"]
        domains = ["peer"]
        [[grant]]
        user = 6
        interfaces = ["*"]
        domains = ["peer"]
        messages = ["5", "root"]
        [[grant]]
        user = 7
        interfaces = ["left"]
        domains = ["peer"]
        messages = ["*"]
        "#,
    );
    let granted = |user| policy.decide(&asker(user, &[]), &wish(&[Domain::Peer])).expect("granted");
    let ask = |user, interface| granted(user).reaches(interface);
    assert!(ask(5, "right") && !ask(5, "third") && ask(6, "third") && !ask(7, "right"));
    assert_eq!(granted(5).messages(), Some(&[][..]), "none without a word");
    assert_eq!(granted(6).messages(), Some(&[5, 0][..]));
    assert_eq!(granted(7).messages(), None);
    let (line, what) = wrong(
        "[[grant]]\nuser = 5\ninterfaces = [\"*\"]\ndomains = []\nmessages = [\"*\", \"6\"]\n",
    );
    assert_eq!((line, what.as_str()), (5, "\"*\" means all users and stands alone"));
}

#[test]
fn who_may_claim_no_prefix_is_no_claimant() {
    let policy = policy(
        r#"
        [[grant]]
        user = 5
        interfaces = ["left"]
        domains = []
        ports = ["5000-5999"]
        [[grant]]
        user = 6
        interfaces = ["left"]
        domains = []
        prefixes = ["10.1.0.0/16"]
        "#,
    );
    let claimant = Wish { claimant: true, ..wish(&[]) };
    let refused = policy.decide(&asker(5, &[]), &claimant).map(|_| ()).unwrap_err().to_string();
    assert!(refused.starts_with("the policy lets somebody claim no destinations on left (line 2"));
    assert!(policy.decide(&asker(5, &[]), &wish(&[])).is_ok());
    assert!(policy.decide(&asker(6, &[]), &claimant).is_ok());
}
